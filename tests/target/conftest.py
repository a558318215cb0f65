"""What the tests of the launcher share: starting small targets, and waiting for conditions."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from drainproof.target.process import ProcessInstance, launch_command

PATIENCE = 20.0
"""Seconds after which a condition that did not come true fails a test."""


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """`eventually(condition)` returns the condition's first true value, or fails."""

    def wait(condition: Callable[[], Any], *, within: float = PATIENCE) -> Any:
        until = time.monotonic() + within
        while not (value := condition()):
            assert time.monotonic() < until, "the condition did not come true"
            time.sleep(0.005)
        return value

    return wait


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ProcessInstance]]:
    """`start(code)` launches Python code, `start([…])` a command; all of them are ended with the test."""
    with ExitStack() as stack:

        def start_one(what: str | list[str], **options: Any) -> ProcessInstance:
            command = [sys.executable, "-I", "-S", "-c", what] if isinstance(what, str) else what
            defaults = {"environment": {}, "working_directory": tmp_path, "output": tmp_path / "output.jsonl"}
            return stack.enter_context(launch_command(command=command, **{**defaults, **options}))

        yield start_one


@pytest.fixture
def output(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """`output()` reads the records of `output.jsonl`."""

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (tmp_path / "output.jsonl").read_text(encoding="ascii").splitlines()]

    return read
