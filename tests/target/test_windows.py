"""What a manifest says of Windows, and what is right after a console event."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from drainproof.errors import ManifestError
from drainproof.target.description import Target
from drainproof.target.manifest import load_target
from drainproof.target.windows import SAYS_LIMITED, exit_statuses

SMALLEST = """
[start]
command = ["server", "{port}"]
[health]
readiness = "/ready"
[[request]]
path = "/predict"
"""


def manifest(folder: Path, more: str) -> Path:
    (folder / "drainproof.toml").write_text(SMALLEST + more)
    return folder


def test_packages_folders_and_words_come_from_the_manifest_and_survive_as_json(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "server").mkdir()
    more = '[windows]\npackages = ["mine"]\nfolders = ["../shared"]\nsays_limited = "no signals"\n'
    target = load_target(manifest(tmp_path / "server", more))
    assert target.windows.packages == ("mine",)
    assert target.windows.folders == (tmp_path / "shared",)
    assert target.windows.says_limited == "no signals"
    assert Target.from_json(target.to_json()) == target


def test_mistakes_are_told_by_their_key(tmp_path: Path) -> None:
    more = '[windows]\npackages = ["my.package"]\nfolders = ["nowhere"]\nsays_limited = "("\n'
    with pytest.raises(ManifestError) as error:
        load_target(manifest(tmp_path, more))
    for text in ('windows.packages[0] = "my.package"', "windows.says_limited", "top-level package"):
        assert text in str(error.value)
    with pytest.raises(ManifestError, match=r'windows\.folders\[0\] = "nowhere"\n.*there is no such folder'):
        load_target(manifest(tmp_path, '[windows]\nfolders = ["nowhere"]\n'))


@pytest.mark.parametrize(
    ("policy", "ctrl_c", "ctrl_break"),
    [
        ("", (0, 3, 58, 130), (0, 3, 58, 149)),
        ("exit_codes = { SIGINT = 0 }", (0,), (0, 3, 58, 149)),
        ("exit_codes = { SIGINT = [0, 130], SIGBREAK = 7 }", (0, 3, 58, 130), (7,)),
        ('stop_signals = ["SIGTERM"]', (0, 3, 58, 130), (0, 3, 58, 149)),
    ],
)
def test_exit_statuses_follow_the_policy(
    tmp_path: Path, policy: str, ctrl_c: tuple[int, ...], ctrl_break: tuple[int, ...]
) -> None:
    declared = load_target(manifest(tmp_path, f"[policy]\n{policy}\n")).policy.exit_codes
    assert exit_statuses("Ctrl-C", declared) == ctrl_c
    assert exit_statuses("Ctrl-Break", declared) == ctrl_break


def test_sigbreak_is_the_name_of_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="SIGBREAK"):
        load_target(manifest(tmp_path, '[policy]\nstop_signals = ["SIGBREAK"]\n'))


@pytest.mark.parametrize(
    "line",
    [
        "WARNING signal handling is limited on Windows: only Ctrl-C stops this server",
        "Signal handlers are not supported on this platform",
        "Graceful shutdown by signals is not available here",
        "cannot install signal handlers in this event loop",
        "WARNING: running on Windows, signals are ignored",
        "signal handling is limited on Windows: only Ctrl-C and Ctrl-Break stop this server in order",
        "SIGTERM is not supported on Windows",
        "SIGTERM handlers are not available on this platform",
        "loop.add_signal_handler is not implemented on this platform; using signal.signal",
        "Signal handling: not available",
        "Running without signal handlers",
        "Windows has only limited support for POSIX signals",
    ],
)
def test_a_line_that_says_it_is_found(line: str) -> None:
    assert re.search(SAYS_LIMITED, line, re.IGNORECASE)


@pytest.mark.parametrize(
    "line",
    [
        "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
        "    loop.add_signal_handler(sig, callback)",
        "NotImplementedError",
        "Received signal 2, shutting down",
        "draining (SIGINT)",
        "Rate limiting is on",
        "No signal received yet, serving",
        "Received signal SIGINT, closing without waiting",
        "Signals: SIGINT, SIGBREAK installed (Windows)",
        "INFO: no more work, received signal 2",
        "AttributeError: module 'signal' has no attribute 'SIGQUIT' on Windows",
        "Received SIGTERM, model not available",
    ],
)
def test_a_line_that_does_not_is_not(line: str) -> None:
    assert not re.search(SAYS_LIMITED, line, re.IGNORECASE)
