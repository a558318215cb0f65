"""The gunicorn target: its manifest, its truths, and the scripts that make its environment and start it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from drainproof import requirement
from drainproof.target.manifest import load_target
from drainproof.verdict import OUTCOMES

from tests.reference_servers.environments import Environments, run_script
from tests.reference_servers.truths import SERVERS, truths

GUNICORN = SERVERS / "gunicorn"
RELEASES = sorted(path.parent.name for path in GUNICORN.glob("*/drainproof.toml"))


@pytest.mark.parametrize("release", RELEASES)
def test_it_starts_its_own_release_with_workers_that_are_supervised(release: str) -> None:
    target = load_target(GUNICORN / release)
    assert (target.name, target.command[:2]) == (f"gunicorn-{release}", ("../run", release))
    assert target.supervised == (2,)
    assert target.worker_failure is not None


@pytest.mark.parametrize("release", RELEASES)
def test_its_requirements_pin_everything_and_its_release(release: str) -> None:
    lines = (GUNICORN / release / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert f"gunicorn=={release}" in pins
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", pin)] == []


def test_truths_name_what_exists() -> None:
    for truth in truths("gunicorn"):
        assert set(truth.releases) <= set(RELEASES), truth
        assert requirement.get(truth.requirement), truth
        assert truth.verdicts and set(truth.verdicts) <= set(OUTCOMES), truth
        assert truth.why, truth


def test_environment_prints_the_python_that_it_made_and_uses_it_again(tmp_path: Path) -> None:
    bench = Environments("gunicorn", tmp_path)
    first = bench.make("27.0.1")
    assert (first.returncode, first.stdout) == (0, f"{bench.cache}/gunicorn-27.0.1/bin/python\n"), first.stderr
    assert bench.make("27.0.1").stdout == first.stdout
    assert "pip" not in bench.asked


def test_run_without_an_environment_says_how_to_make_it(tmp_path: Path) -> None:
    result = run_script(GUNICORN / "run", "27.0.1", "1", "2", DRAINPROOF_ENVIRONMENTS=str(tmp_path))
    assert result.returncode == 1
    assert f"{GUNICORN}/environment 27.0.1" in result.stderr
