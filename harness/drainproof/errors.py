"""Everything that can go wrong, by whose fault it is.

The class of an exception decides the verdict: a mistake of the user stops the run before anything starts
(`UserError`), a target that does not come up is evidence about the target (`LaunchError`), a situation that did not
arise is `Inconclusive`, a rule that does not apply is `Unsupported`, and everything else is our own failure
(`HarnessError`), never the target's.
"""

from __future__ import annotations


class DrainproofError(Exception):
    """Base of every error that drainproof raises on purpose; its text is meant for the user as it is."""


class UserError(DrainproofError):
    """The user's input is wrong (manifest, option, folder). The text says what, where, and what to write instead."""


class ManifestError(UserError):
    """A mistake in `drainproof.toml`: mend the key that the text names."""


class LaunchError(DrainproofError):
    """The target did not come up. The text carries the tail of its output; the subclasses say in which way."""


class CommandNotStarted(LaunchError):
    """The command itself could not be executed (not found, not executable, no such folder)."""


class ExitedEarly(LaunchError):
    """The target ended before it was ready, with whatever status (0 included)."""


class NotReadyInTime(LaunchError):
    """The start-up deadline passed; asked to stop, the target then did so."""


class ReadyButNotServing(LaunchError):
    """The target said that it is ready, and did not answer one real request rightly before the deadline."""


class NeverReadyNeverExits(LaunchError):
    """The start-up deadline passed, and the target did not go on SIGTERM within its grace period either: it hangs."""


class PortTaken(LaunchError):
    """Somebody else answers on the port that was handed to the target."""


class HarnessError(DrainproofError):
    """drainproof itself failed (an engine that ran out of CPU, a ledger that does not reconcile): no verdict."""


class Inconclusive(DrainproofError):
    """The situation that a check needs did not arise. Never green: repeat the run, or mend what the text names."""


class Unsupported(DrainproofError):
    """The rule does not apply to this target; the text says why, and what to declare to make it apply."""
