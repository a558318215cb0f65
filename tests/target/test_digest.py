"""The digest of a target changes with it, and with nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from drainproof.redaction import Redactor
from drainproof.target import digest
from drainproof.target.manifest import load_target

MANIFEST = """
[start]
command = ["{python}", "server.py", "{port}"]
env = { API_TOKEN = "a-secret-value" }
[health]
readiness = "/ready"
[[request]]
path = "/predict"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "models").mkdir(parents=True)
    (folder / "server.py").write_text("serve()\n")
    (folder / "models" / "weights").write_bytes(bytes(range(256)))
    (folder / "link").symlink_to("models")
    (folder / "drainproof.toml").write_text(MANIFEST)
    return folder


def of(folder: Path) -> digest.Digest:
    target = load_target(folder)
    return digest.of_folder(target, Redactor.of(target, environment={}))


def test_a_copy_has_the_same(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy", symlinks=True)
    assert of(folder) == of(tmp_path / "elsewhere" / "copy")
    assert of(folder)["of"] == "the manifest as resolved and 4 files of the target folder"
    assert len(of(folder)["sha256"]) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "server.py").write_text("serve( )\n"),
        lambda folder: (folder / "server.py").rename(folder / "server2.py"),
        lambda folder: (folder / "models" / "more").write_text(""),
        lambda folder: (folder / "link").unlink(),
        lambda folder: (folder / "drainproof.toml").write_text(MANIFEST + "duration = 1\n"),
    ],
)
def test_a_change_changes_it(folder: Path, change) -> None:
    before = of(folder)["sha256"]
    change(folder)
    assert of(folder)["sha256"] != before


@pytest.mark.parametrize("name", [".git", "__pycache__", ".pytest_cache", "node_modules"])
def test_what_comes_and_goes_is_left_out(folder: Path, name: str) -> None:
    before = of(folder)
    (folder / "models" / name).mkdir()
    (folder / "models" / name / "file").write_text("x")
    (folder / "server.pyc").write_text("x")
    for mark, place in (("pyvenv.cfg", "env"), (".drainproof", "my-reports")):
        (folder / place).mkdir()
        (folder / place / mark).write_text("x")
        (folder / place / "file").write_text(name)
    os.mkfifo(folder / "pipe")
    assert of(folder) == before


def test_bounds_are_kept_and_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "LARGEST", 200)
    before = of(folder)
    assert before["of"].endswith("; 1 of them by their size alone")
    (folder / "models" / "weights").write_bytes(bytes(256))
    assert of(folder) == before
    monkeypatch.setattr(digest, "MOST_FILES", 3)
    assert of(folder)["of"] == "the manifest alone: the folder has over 3 files"


def test_an_image_is_known_by_its_registrys_digest_else_by_its_id(tmp_path: Path) -> None:
    launch = {
        "event": "launch",
        "image": "mine:1",
        "image_id": "sha256:" + "1" * 64,
        "digest": "mine@sha256:" + "2" * 64,
    }
    assert digest.of_image(launch) == {
        "sha256": "2" * 64,
        "of": f"the image mine@sha256:{'2' * 64}, as its registry has it",
    }
    assert digest.of_image({**launch, "digest": None}) == {"sha256": "1" * 64, "of": "the image mine:1, by its id"}
    assert digest.of_image({"event": "launch", "pid": 1}) is None
    for name, events in (("a", [{"event": "stopped"}]), ("b", [{"event": "prepared"}, launch])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "timeline.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"cut')
    assert digest.of_evidence(tmp_path) == digest.of_image(launch)
