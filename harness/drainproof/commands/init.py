"""Looks at a folder with a server, proposes a drainproof.toml for it, and starts the server once to confirm what it
found. It knows uvicorn with FastAPI (and other ASGI applications), KServe, TorchServe, and a Dockerfile. What it could
not find is marked TODO in the file.

Exit status: 0 if the manifest is written and confirmed (or --no-start given), 1 if it is written and the server could
not be started by it, 2 for a mistake in the command."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from drainproof.commands.speaking import say
from drainproof.errors import UserError
from drainproof.text import printable

NOT_CONFIRMED = "# TODO not confirmed"
NOT_STARTED = "the server was not started (--no-start)"

SUMMARY = "look at a folder with a server, and write a drainproof.toml for it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the folder."""
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, default=Path(), help="the server's folder (default: this one)"
    )
    parser.add_argument("--no-start", action="store_true", help="do not start the server; nothing is confirmed then")
    parser.add_argument("--force", action="store_true", help="write over a drainproof.toml that is there")


def run(args: argparse.Namespace) -> int:
    """Proposes, confirms, writes. Raises UserError."""
    from drainproof.proposing import looking, writing  # noqa: PLC0415 - imports the engine
    from drainproof.proposing.confirming import Confirmation, confirm  # noqa: PLC0415 - as above
    from drainproof.target import manifest  # noqa: PLC0415 - needs pydantic

    if not args.folder.is_dir():
        raise UserError(f"{args.folder}: there is no such folder")
    folder = args.folder.resolve()
    if manifest.has_manifest(folder) and not args.force:
        raise UserError(f"{args.folder}: has a manifest already; --force writes a {manifest.FILE} all the same")
    proposal = looking.look(folder)
    for name, content in proposal.files.items():  # it may need them to start
        _write(folder / name, content, force=args.force)
        _say("written", str(args.folder / name))
    outcome = Confirmation(proposal=proposal, problem=NOT_STARTED)
    if not args.no_start:
        _say("starting", f"{proposal.kind} …")
        outcome = confirm(proposal, folder)
    text = writing.write(outcome.proposal)
    if outcome.problem:
        text = f"{NOT_CONFIRMED}: {printable(outcome.problem).partition(chr(10))[0]}\n{text}"
    manifest.parse_target(text, file=folder / manifest.FILE)  # never write what cannot be read
    _write(folder / manifest.FILE, text, force=args.force)
    _tell(outcome.proposal.found, outcome.confirmed)
    _say("written", str(args.folder / manifest.FILE))
    say(f"\n{text}\n")
    for line in text.splitlines():
        if line.startswith("# TODO ") and not line.startswith(NOT_CONFIRMED):
            _say("left to you", line.removeprefix("# TODO "))
    if outcome.problem:
        _say("problem", outcome.problem)
    _say("next", f"pytest {shlex.quote(f'--target={args.folder}')} -x -k 'TestStopUnderLoad and SIGTERM-main'")
    return 1 if outcome.problem and not args.no_start else 0


def _tell(found: Sequence[str], confirmed: Sequence[str]) -> None:
    for line in found:
        _say("found", line)
    for line in confirmed:
        _say("confirmed", line)


def _say(word: str, text: str) -> None:
    first, *rest = printable(text).splitlines() or [""]
    say(f"{word:<12}{first}\n" + "".join(f"{'':<12}{line}\n" for line in rest))


def _write(path: Path, text: str, *, force: bool) -> None:
    """Raises UserError; a file that is there is written over with `force` alone, also one that has just come."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"{path} is there already; --force writes over it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
