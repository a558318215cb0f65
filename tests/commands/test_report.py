"""`drainproof report`."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

from drainproof.evidence import digests
from drainproof.verdict import Results

from tests.commands.front_door import drainproof
from tests.commands.results import saved, verdict

REPORT = """
def pytest_drainproof_report(results, folder):
    (folder / "acme.txt").write_text(f"{results.overall}, {len(results.verdicts)}")
"""


def acme(tmp_path: Path, text: str = REPORT) -> dict[str, str]:
    """The environment in which a foreign report is installed."""
    info = tmp_path / "site" / "acme-1.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "acme_report.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[drainproof.reports]\nacme = acme_report\n")
    return {"PYTHONPATH": str(tmp_path / "site")}


def test_every_installed_report_is_written_and_verdicts_stay_as_they_are(tmp_path: Path) -> None:
    folder = saved(tmp_path / "report", verdict("DRAIN-1", "pass"), verdict("DRAIN-2", "fail"))
    before = json.loads((folder / "results.json").read_text())
    done = drainproof("report", folder, env=acme(tmp_path))
    assert (done.status, done.err) == (0, "")
    assert done.out == f"written to {folder}: the reports of acme, builtin\n"
    assert (folder / "acme.txt").read_text() == "not conforming, 2"
    assert "DRAIN-2" in (folder / "junit.xml").read_text()
    assert json.loads((folder / "results.json").read_text()) == before


def test_a_report_that_fails_is_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "report", verdict("DRAIN-1", "pass"))
    done = drainproof("report", folder, env=acme(tmp_path, REPORT.replace("results.overall", "1 / 0")))
    assert done.status == 2
    assert done.err == "drainproof report: error: a report failed: ZeroDivisionError: division by zero\n"


def test_a_folder_that_a_run_writes_to_is_left_alone(tmp_path: Path) -> None:
    folder = saved(tmp_path / "report", verdict("DRAIN-1", "pass"))
    (folder / ".drainproof").touch()
    with (folder / ".drainproof").open() as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        done = drainproof("report", folder)
    assert done.status == 2
    assert "another run writes its reports to this folder now. Wait for its end" in done.err
    assert not (folder / "junit.xml").exists()


def with_evidence(folder: Path) -> Path:
    """The folder with one file of evidence, and its digests."""
    evidence = folder / "evidence" / "run"
    evidence.mkdir(parents=True)
    (evidence / "session.json").write_text("{}")
    content = json.loads((folder / "results.json").read_text())
    digest = digests.write(evidence, results=Results.from_json(content))
    content["bundle"] = {"folder": "evidence/run", "digests": digest}
    (folder / "results.json").write_text(json.dumps(content))
    return evidence


def test_changed_evidence_is_vouched_for_by_no_report(tmp_path: Path) -> None:
    folder = saved(tmp_path / "report", verdict("DRAIN-1", "pass"))
    evidence = with_evidence(folder)
    assert drainproof("report", folder).status == 0
    (evidence / "session.json").write_text("[]")
    (folder / "junit.xml").unlink()
    done = drainproof("report", folder)
    assert done.status == 2
    assert "the evidence is not what the run left (session.json was changed: it has another SHA-256)" in done.err
    assert not (folder / "junit.xml").exists()
    done = drainproof("report", folder, "--force")
    assert (done.status, done.err.startswith("warning: the evidence is not what the run left")) == (0, True)
    assert (folder / "junit.xml").exists()


def test_evidence_that_is_elsewhere_is_warned_of(tmp_path: Path) -> None:
    folder = saved(tmp_path / "report", verdict("DRAIN-1", "pass"))
    shutil.rmtree(with_evidence(folder))
    done = drainproof("report", folder)
    assert done.status == 0
    assert done.err.startswith("warning: the evidence is not what the run left (digests.json is missing")


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    folder = saved(tmp_path / "report", verdict("DRAIN-1", "pass"))
    (folder / "junit.xml").write_text("mine")
    done = drainproof("report", folder)
    assert done.status == 2
    assert "holds junit.xml, and nothing shows that drainproof wrote them" in done.err
    assert (folder / "junit.xml").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["junit.xml", "results.json"]
    assert drainproof("report", folder, "--force").status == 0
