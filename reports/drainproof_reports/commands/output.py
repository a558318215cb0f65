"""Where a command puts what it has to say."""

from __future__ import annotations

import argparse
from pathlib import Path

from drainproof.commands.speaking import say
from drainproof.errors import UserError

from drainproof_reports import files


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declares `-o FILE`."""
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to FILE instead of the terminal")


def put(text: str, output: Path | None) -> None:
    """Writes `text` to the file, or to the terminal. Raises UserError."""
    if output is None:
        say(text)
        return
    if not output.name:  # of "" and "/", which no file has
        raise UserError(f"-o {output}: expected the name of a file")
    try:
        files.replace(output, text)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error
