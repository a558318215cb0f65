"""The command `drainproof`: what is done before and after a run. Runs themselves are pytest's: `pytest --target=DIR`.

Each command is a module that an entry point of the group `drainproof.commands` names, with

    SUMMARY: str                                   one line for `drainproof --help`
    add_arguments(parser: ArgumentParser) -> None  its arguments; what is heavy to import waits for `run`
    run(args: Namespace) -> int                    does it, and gives the exit status

A mistake of the user is a `UserError`: one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Protocol, cast

import drainproof
from drainproof.errors import DrainproofError
from drainproof.text import printable

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

MISTAKE, INTERRUPTED = 2, 130


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
    try:
        return command.run(args)
    except DrainproofError as error:
        sys.stderr.write(f"drainproof {args.command}: error: {printable(str(error))}\n")
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough (`| head`); the interpreter must not complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
            sys.stderr.write(f"drainproof: the command {entry.name} ({entry.value}) cannot be loaded: {error}\n")
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
