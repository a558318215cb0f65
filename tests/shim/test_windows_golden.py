"""What a target sees agrees with what was recorded on Windows, attribute by attribute, on Python 3.9 to 3.13."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shim.windows import HERE, MINORS, Windows, interpreter

ARTEFACTS = {"socket/TCP_KEEPIDLE": "was recorded on Wine, which lacks it; Windows has it"}
"""Where the record speaks of Wine and not of Windows: the emulation has the opposite."""


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{path}/{key}" if path else key)
    else:
        yield path, value


@pytest.mark.parametrize("minor", MINORS)
def test_a_target_sees_what_was_recorded_on_windows(minor: int, tmp_path: Path) -> None:
    python = interpreter(minor)
    text = (HERE / "golden" / "windows" / f"attrs-3.{minor}.json").read_text()
    golden = dict(flat(json.loads(text)))
    del golden["version"]
    windows = Windows(tmp_path)

    seen = dict(flat(windows.record(python, "windows_attributes.py", text)))

    assert seen.keys() == golden.keys()
    differences = {key: (seen[key], value) for key, value in golden.items() if seen[key] != value}
    assert differences == {key: (not golden[key], golden[key]) for key in ARTEFACTS}
    assert not windows.reports().all("trouble")
