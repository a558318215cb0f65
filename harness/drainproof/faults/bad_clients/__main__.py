"""Sends cases of a recorded run again: `python -m drainproof.faults.bad_clients EVIDENCE --port 8000`.

Without `--case` it sends the smallest failing case of each class. It prints what is sent and what comes back, and exits
with 1 where an outcome is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drainproof.errors import DrainproofError
from drainproof.evidence import Evidence
from drainproof.faults.bad_clients.cases import FILE, TOKEN, Case, read_cases
from drainproof.faults.bad_clients.exchange import play
from drainproof.faults.bad_clients.rules import failing, what_is_wrong


def main() -> int:
    """Parses the command line and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m drainproof.faults.bad_clients", description=__doc__)
    parser.add_argument("evidence", type=Path, help=f"the evidence folder of one scenario, with its {FILE}")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="of a running server; not needed with --raw")
    parser.add_argument("--case", type=int, help="the number of one case instead of the failing ones")
    parser.add_argument("--timeout", type=float, default=15.0, help="seconds until no answer is a hang")
    parser.add_argument("--raw", action="store_true", help="write the bytes of the case to stdout and send nothing")
    arguments = parser.parse_args()
    if arguments.port is None and not arguments.raw:
        parser.error("which --port?")
    try:
        lines = _chosen(read_cases(arguments.evidence), arguments.case)
        if arguments.raw:
            for line in lines:
                sys.stdout.buffer.writelines(Case.from_json(dict(line)).stream())
            return 0
        return max((_again(line, arguments) for line in lines), default=0)
    except DrainproofError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _chosen(lines: list[dict[str, Any]], number: int | None) -> list[Mapping[str, Any]]:
    if number is None:
        return [line for _, line in failing(lines).values()]
    return [line for line in lines if line["case"] == number]


def _again(line: Mapping[str, Any], arguments: argparse.Namespace) -> int:
    """Sends one case and tells what came of it; 1 where it is wrong."""
    evidence = Evidence(arguments.evidence)
    name = evidence.fault["request"]
    request = next(r for r in evidence.target.requests if r.name == name)
    case = Case.from_json(dict(line))
    sys.stdout.write(f"case {line['case']} ({case.kind}), {case.size} bytes\n  {case}\n")
    outcome = play(
        case=case, request=request, token=TOKEN, host=arguments.host, port=arguments.port, timeout=arguments.timeout
    )
    wrong = what_is_wrong({**outcome.to_json(), **case.to_json()})
    head = outcome.answer.partition(b"\r\n")[0].decode("latin-1")
    sys.stdout.write(f"→ {outcome.ending} {head}\n  {wrong or 'which is right'}\n")
    return int(wrong is not None)


if __name__ == "__main__":
    sys.exit(main())
