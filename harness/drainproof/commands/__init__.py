"""The command `drainproof`: what is done before and after a run. Runs themselves are pytest's: `pytest --target=DIR`.

Each command is a module that an entry point of the group `drainproof.commands` names, with

    SUMMARY: str                                   one line for `drainproof --help`
    add_arguments(parser: ArgumentParser) -> None  its arguments; what is heavy to import waits for `run`
    run(args: Namespace) -> int                    does it, and gives the exit status

A mistake of the user is a `UserError`: one line on stderr and exit status 2. So is whatever goes wrong unexpectedly: 1
is an answer (a regression, a verdict that is not reproduced), and a crash must not look like one.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import NoReturn, Protocol, cast

import drainproof
from drainproof.commands.ending import Ended, ended_by_signals
from drainproof.commands.speaking import complain, give_up_stdout
from drainproof.errors import DrainproofError
from drainproof.text import flat
from drainproof.workflow_commands import for_terminal

GROUP = "drainproof.commands"

DESCRIPTION = "Does a model server keep its promises when it is killed? Runs are pytest's: pytest --target=FOLDER"

EXAMPLES = """\
examples:
  drainproof init                              look at this folder, and write a drainproof.toml for the server in it
  pytest --target=.                            judge it
  drainproof check drainproof-report           judge the saved evidence again, and find what was changed since
  drainproof report drainproof-report          write all reports again
  drainproof compare old-report new-report     what got better, what got worse; exit status 1 for the latter
  drainproof merge a-report b-report -o g.html several targets side by side
  drainproof list requirements                 what a server is held to
"""

MISTAKE, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
BY_SIGNAL = 128
"""What a shell adds to the number of the signal that ended a command."""


class Command(Protocol):
    """What the module of a command has."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares its arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Does it, and gives the exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Gives the exit status."""
    args = _parser().parse_args(argv)
    command: Command = args.command_module
    name = f"drainproof {args.command}"
    try:
        with ended_by_signals():
            return command.run(args)
    except DrainproofError as error:
        complain(f"{name}: error: {error}")
    except Ended as error:
        return BY_SIGNAL + error.signum
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        give_up_stdout()
        return BROKEN_PIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        complain(f"{name}: error: {flat(f'{where}{error.strerror or error}')}")
        give_up_stdout()
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = flat(f"{type(error).__name__}: {error}")
        complain(f"{name}: error: a mistake in drainproof, at {last.filename}:{last.lineno}: {told}; please report it")
    return MISTAKE


class _Parser(argparse.ArgumentParser):
    """One whose errors are fit for the terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(for_terminal(flat(message)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="drainproof",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"drainproof {drainproof.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            module = cast("Command", entry.load())
        except Exception as error:  # whatever a foreign module raises: the other commands stay usable
            complain(f"drainproof: the command {entry.name} ({entry.value}) cannot be loaded: {error}")
            continue
        sub = commands.add_parser(
            entry.name,
            help=module.SUMMARY,
            description=getattr(module, "__doc__", None) or module.SUMMARY,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(command_module=module)
    return parser
