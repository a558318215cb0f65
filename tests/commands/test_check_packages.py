"""`drainproof check` of runs with scenarios that are not drainproof's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands.front_door import drainproof
from tests.real.runs import SERVERS, finished, pytest_command

SCENARIO = """
import pytest
from drainproof.scenario import requirement

class TestStart:
    \"\"\"A start\"\"\"

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment):
        return experiment.run()

    @requirement("START-1")
    def test_it_was_ready(self, evidence):
        assert evidence.find("ready")
"""


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """A folder for the PYTHONPATH in which a scenario package is installed."""
    site = tmp_path / "site"
    (site / "acme_scenarios").mkdir(parents=True)
    (site / "acme_scenarios" / "__init__.py").touch()
    (site / "acme_scenarios" / "starts.py").write_text(SCENARIO)
    info = site / "acme_scenarios-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-scenarios\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[drainproof.scenarios]\nacme = acme_scenarios\n")
    return site


def judged(tmp_path: Path, *arguments: str, path: str) -> Path:
    report = tmp_path / "report"
    command = pytest_command(f"--target={SERVERS / 'conforming'}", f"--report-dir={report}", *arguments)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=env, stdout=-1, stderr=-2, timeout=120, check=False)
    live = finished(done, report)
    assert live.status == 0, live.output
    return report


def test_a_scenario_package_that_is_not_installed_is_named(tmp_path: Path, acme: Path) -> None:
    report = judged(tmp_path, "-k", "acme_scenarios", path=str(acme))
    assert drainproof("check", report, env={"PYTHONPATH": str(acme)}).status == 0
    without = drainproof("check", report)
    assert without.status == 1
    assert "the scenario package acme_scenarios (acme-scenarios 1.2) is not installed" in without.out


def test_scenarios_in_test_files_need_their_files(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(SCENARIO)
    report = judged(tmp_path, "test_own.py", path="")
    without = drainproof("check", report, cwd=tmp_path)
    assert without.status == 1
    assert "test_own.TestStart is no scenario of the packages here (drainproof_scenarios)" in without.out
    given = drainproof("check", report, "test_own.py", cwd=tmp_path)
    assert (given.status, given.out) == (0, "reproduced: each verdict (1), from evidence that is unchanged\n")
    missing = drainproof("check", report, "test_other.py", cwd=tmp_path)
    assert (missing.status, missing.err) == (2, "drainproof check: error: test_other.py: there is no such file\n")
