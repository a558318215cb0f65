"""The manifest of digests, on folders."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from drainproof.errors import UserError
from drainproof.evidence import digests
from drainproof.verdict import Bundle, Results

RESULTS = Results(
    target={},
    versions={"drainproof": "0"},
    verdicts=(),
    started="2026-11-20T15:40:11+00:00",
    seconds=1.0,
    aborted=False,
)


def sealed(folder: Path) -> Results:
    digest = digests.write(folder, results=RESULTS)
    assert digest is not None
    assert digest == digests.of_manifest(folder)
    return replace(RESULTS, bundle=Bundle(folder=".", digests=digest))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("session.json", "a/ledger.jsonl", "discarded/a/ledger.jsonl", "a/shim/report"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_every_file_is_in_it(folder: Path) -> None:
    results = sealed(folder)
    assert digests.verify(folder, results=results) == []
    for file in [path for path in folder.rglob("*") if path.is_file() and path.name != digests.MANIFEST]:
        content = file.read_bytes()
        file.write_bytes(content.swapcase())
        [problem] = digests.verify(folder, results=results)
        assert (problem.kind, problem.path) == ("file-changed", file.relative_to(folder).as_posix())
        file.write_bytes(content)


def test_a_second_writing_does_not_digest_the_first(folder: Path) -> None:
    assert sealed(folder) == sealed(folder)


def test_names_that_are_no_text(folder: Path) -> None:
    name = os.fsdecode(b"\xff\n\x1b[31m")
    (folder / name).touch()
    results = sealed(folder)
    assert digests.verify(folder, results=results) == []
    (folder / name).unlink()
    assert [problem.path for problem in digests.verify(folder, results=results)] == [name]


def test_an_empty_folder_is_no_evidence(tmp_path: Path) -> None:
    assert digests.write(tmp_path, results=RESULTS) is None
    assert list(tmp_path.iterdir()) == []
    assert digests.of_manifest(tmp_path) is None


def test_what_is_no_plain_file_is_neither_written_nor_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = sealed(folder)
    monkeypatch.chdir(folder)  # the path of a socket must be short
    os.mkfifo("pipe")
    Path("link").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        found = {problem.path: problem.kind for problem in digests.verify(folder, results=results)}
        assert found == dict.fromkeys(["pipe", "link", "socket"], "not-a-file")
        with pytest.raises(UserError, match="evidence is plain files"):
            digests.write(folder, results=RESULTS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "run": {}, "files": {}}',
        '{"format": 1, "run": [], "files": 1}',
    ],
)
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    results = sealed(folder)
    (folder / digests.MANIFEST).write_text(text)
    assert [problem.kind for problem in digests.verify(folder, results=results)] == ["manifest-damaged"]


def test_a_manifest_that_is_a_link(folder: Path) -> None:
    results = sealed(folder)
    (folder / digests.MANIFEST).rename(folder / "moved")
    (folder / digests.MANIFEST).symlink_to("moved")
    assert [problem.kind for problem in digests.verify(folder, results=results)] == ["not-a-file"]


def test_an_absolute_path_leads_outside(folder: Path) -> None:
    results = sealed(folder)
    manifest = folder / digests.MANIFEST
    manifest.write_text(manifest.read_text().replace('"session.json"', '"/etc/passwd"'))
    kinds = {problem.kind for problem in digests.verify(folder, results=results)}
    assert kinds == {"manifest-changed", "outside", "file-added"}
