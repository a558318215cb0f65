"""The evidence of a run is closed by digests, which the results name."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

TWO = """
class TestFirst:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment): return experiment.run()
    @requirement("DRAIN-1")
    def test_it(self, evidence): pass

class TestSecond:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment): return experiment.run()
    @requirement("EXIT-1")
    def test_it(self, evidence): assert {}
"""

EVERYTHING = {
    "session.json",
    "target.json",
    "closed",
    *(f"drain.{name}/{file}" for name in ("TestFirst", "TestSecond") for file in ("title", "evidence.json")),
}
"""`closed` is what the laboratory writes when it ends: the digests come after that."""


def manifest(inner) -> dict:
    bundle = inner.results()["bundle"]
    file = inner.report / bundle["folder"] / "digests.json"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == bundle["digests"]
    return json.loads(file.read_text())


@pytest.mark.parametrize("distributed", [[], ["-n", "2"]])
def test_every_file_is_named(inner, distributed):
    inner.scenarios(TWO.format(True))
    inner.run_apart(*distributed)
    content = manifest(inner)
    assert set(content["files"]) == EVERYTHING
    assert content["run"]["aborted"] is False
    assert content["run"]["started"] == inner.results()["started"]


def test_a_run_that_was_stopped_in_order_has_its_digests_and_says_so(inner):
    inner.scenarios(TWO.replace("TestFirst", "TestZ").replace("TestSecond", "TestFirst").format(False))
    inner.run("-x")
    content = manifest(inner)
    assert content["run"]["aborted"] is True


def test_a_run_that_is_killed_has_none(inner):
    inner.scenarios(TWO.format("__import__('os').kill(__import__('os').getpid(), 9)"))
    command = [sys.executable, "-m", "pytest", *map(str, inner._args((), True))]
    subprocess.run(command, cwd=inner.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    assert inner.results()["bundle"] is None
    assert not (inner.evidence() / "digests.json").exists()


def test_judging_again_names_the_evidence_that_was_judged_and_leaves_it_alone(inner):
    inner.scenarios(TWO.format(True))
    inner.run()
    live = inner.results()["bundle"]
    before = {path: path.stat().st_mtime_ns for path in inner.evidence().rglob("*")}
    inner.run("--evidence=drainproof-report", "--report-dir=again", target=False)
    assert {path: path.stat().st_mtime_ns for path in inner.evidence().rglob("*")} == before
    inner.report = inner.path / "again"
    again = inner.results()["bundle"]
    assert again == {"folder": "../drainproof-report/" + live["folder"], "digests": live["digests"]}


def test_evidence_without_digests_can_be_judged_and_has_no_bundle(inner):
    inner.scenarios(TWO.format(True))
    inner.run()
    (inner.evidence() / "digests.json").unlink()
    assert inner.run("--evidence=drainproof-report", "--report-dir=again", target=False).ret == 0
    inner.report = inner.path / "again"
    assert inner.results()["bundle"] is None


def test_evidence_that_cannot_be_closed_is_an_ordinary_error(inner):
    """A folder in the place of the manifest stands for a disk that is full."""
    inner.scenarios("""
        import pathlib
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self):
                [folder] = pathlib.Path("drainproof-report/evidence").iterdir()
                (folder / "digests.json" / "full").mkdir(parents=True)
        """)
    result = inner.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: the digests of the evidence in * cannot be written: Is a directory"])
    assert "INTERNALERROR" not in result.stdout.str()
    assert inner.results()["bundle"] is None
    assert not inner.results()["aborted"]


def test_what_is_no_plain_file_is_an_ordinary_error(inner):
    inner.scenarios("""
        import os, pathlib
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self):
                [folder] = pathlib.Path("drainproof-report/evidence").iterdir()
                os.mkfifo(folder / "pipe")
        """)
    result = inner.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: */pipe is a FIFO, and evidence is plain files: remove it"])
