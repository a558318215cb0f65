"""The digest of a target changes with it, and with nothing else."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from drainproof.plugin.folders import ReportFolder, new_evidence_folder
from drainproof.report_names import MARKER_TEXT
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
    return digest.of_folder(target)


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
    os.mkfifo(folder / "pipe")
    assert of(folder) == before
    virtual_environment(folder / "env", name)
    reports = folder / "my-reports"
    ReportFolder(reports, option="x").prepare()
    new_evidence_folder(reports, option="x").joinpath("file").write_text(name)
    (reports / "results.json").write_text(name)
    (reports / "of-somebody-else.html").write_text(name)
    after = of(folder)
    assert after["sha256"] == before["sha256"]
    assert after["of"] == before["of"] + "; without env (a virtual environment), my-reports (reports of drainproof)"


def virtual_environment(folder: Path, content: str) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/usr/bin/python3")
    (folder / "pyvenv.cfg").write_text("home = /usr/bin")
    (folder / "file").write_text(content)


@pytest.mark.parametrize("mark", ["pyvenv.cfg", ".drainproof"])
@pytest.mark.parametrize("text", ["", MARKER_TEXT])
def test_a_mark_alone_hides_nothing(folder: Path, mark: str, text: str) -> None:
    (folder / "models" / mark).write_text(text)
    before = of(folder)["sha256"]
    (folder / "models" / "weights").write_bytes(b"others")
    assert of(folder)["sha256"] != before


def test_reports_in_the_folder_itself_are_left_out(folder: Path) -> None:
    before = of(folder)
    ReportFolder(folder, option="x").prepare()
    new_evidence_folder(folder, option="x").joinpath("file").write_text("x")
    (folder / "results.json").write_text("x")
    assert of(folder) == before
    (folder / "evidence" / "of-mine").write_text("x")
    (folder / "models" / "results.json").write_text("x")
    assert of(folder)["of"] == "the manifest as resolved and 6 files of the target folder"


def test_a_folder_that_cannot_be_read_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of(folder)
    scandir = os.scandir

    def refuse(path: str) -> object:  # root reads everything
        if str(path).endswith("models"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    after = of(folder)
    assert after["of"] == "the manifest as resolved and 3 files of the target folder; 1 more could not be read"
    assert after["sha256"] != before["sha256"]


def test_the_environment_has_no_part_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of(folder)
    monkeypatch.setenv("CI_TOKEN", "server.py")
    assert of(folder) == before


def test_paths_are_seen_from_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder.parent / "beside").mkdir()
    text = MANIFEST.replace("[health]", 'cwd = "../beside"\n[windows]\nfolders = ["../beside"]\n[health]')
    (folder / "drainproof.toml").write_text(text)
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy", symlinks=True)
    (tmp_path / "elsewhere" / "beside").mkdir()
    assert of(folder) == of(tmp_path / "elsewhere" / "copy")


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
