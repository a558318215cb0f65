"""Supervised workers, as a user runs the scenarios: a server with a process in front of its workers, good and bad.

The reference servers' workers own the connections of clients; here the main process does.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.real.runs import ROOT, Run, environment, judge, pytest_command, run

SERVER = Path(__file__).resolve().parents[1] / "servers" / "front.py"

MANIFEST = """
[start]
command = ["{{python}}", "{server}", "{{port}}", "workers={{workers}}"{switches}]
deadline = 20
workers = {workers}
[health]
readiness = "/ready"
[[request]]
name = "fast"
path = "/predict"
json = {{ token = "{{token}}" }}
expect = {{ contains = "{{token}}" }}
duration = 0.01
[[request]]
name = "slow"
path = "/predict"
json = {{ token = "{{token}}", seconds = 0.6 }}
expect = {{ contains = "{{token}}" }}
duration = 0.6
safe_to_repeat = false
[policy]
grace_period = 3
settle_time = 1
[policy.restart]
schedule = "{schedule}"
first_delay = 0.3
max_restarts = {limit}
recovery = 15
answer_within = {patience}
[provoke.worker_failure]
args = ["bad-model"]
names_cause = "ImportError: no module named weights"
[workers]
{workers_are}
executed = 'ran (?P<token>\\S+)'
[workers.describe]
path = "/workers"
settings = "limit"
expect = {limit}
workers = "states"
"""

BY_COMMAND = "command = 'front.py worker'"
BY_ANSWERS = "pid = 'pid'"


def target(
    folder: Path,
    *switches: str,
    workers: int | str = 1,
    schedule: str = "doubling",
    limit: int = 3,
    workers_are: str = BY_COMMAND,
    patience: float = 8,
) -> Path:
    folder.mkdir()
    words = "".join(f', "{switch}"' for switch in (*switches, f"limit={limit}"))
    text = MANIFEST.format(
        server=SERVER,
        switches=words,
        workers=workers,
        schedule=schedule,
        limit=limit,
        workers_are=workers_are,
        patience=patience,
    )
    (folder / "drainproof.toml").write_text(text)
    return folder


def verdicts(done: Run) -> dict[str, tuple[str, str]]:
    """Verdict and summary by requirement; the worst of several."""
    order = ["pass", "unsupported", "note", "inconclusive", "error", "fail"]
    found: dict[str, tuple[str, str]] = {}
    for v in sorted(done.results["verdicts"], key=lambda v: order.index(v["verdict"])):
        found[v["requirement"]] = (v["verdict"], v["summary"])
    return found


def facts(done: Run, requirement: str) -> dict:
    return next(v["facts"] for v in done.results["verdicts"] if v["requirement"] == requirement)


def test_a_schedule_is_seen_as_it_is_and_judged_again(tmp_path: Path) -> None:
    arguments = ("-k", "TestSuccessorsDie")
    live = run(target(tmp_path / "t"), report=tmp_path / "r", arguments=arguments, timeout=120)
    assert {key: verdict for key, (verdict, _) in verdicts(live).items()} == {"WORK-4": "pass", "WORK-6": "pass"}
    assert facts(live, "WORK-4")["attempts"] == 3
    assert facts(live, "WORK-4")["declared_s"] == [0.3, 0.6, 1.2]
    assert facts(live, "WORK-6")["workers"] == [["up"], ["down"]]
    assert "attempt  declared   observed" in live.output
    again = judge(tmp_path / "r", report=tmp_path / "again")
    assert verdicts(again) == verdicts(live)
    assert facts(again, "WORK-4") == facts(live, "WORK-4")


def test_another_schedule_fails_with_both_side_by_side(tmp_path: Path) -> None:
    folder = target(tmp_path / "t", "fibonacci", limit=4)
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestSuccessorsDie and WORK-4"), timeout=120)
    verdict, summary = verdicts(done)["WORK-4"]
    assert (verdict, "too early" in summary) == ("fail", True), done.output
    for text in ("FAIL  WORK-4", "observed: █, declared: │", "too early", "doubling from 0.3 s"):
        assert text in done.output, done.output
    (folder / "drainproof.toml").write_text((folder / "drainproof.toml").read_text().replace("doubling", "fibonacci"))
    done = run(folder, report=tmp_path / "f", arguments=("-k", "TestSuccessorsDie and WORK-4"), timeout=120)
    assert verdicts(done)["WORK-4"][0] == "pass", done.explain()


@pytest.mark.real
@pytest.mark.parametrize("workers_are", [BY_COMMAND, BY_ANSWERS])
def test_a_front_answers_for_the_dead(tmp_path: Path, workers_are: str) -> None:
    folder = target(tmp_path / "t", "at-most-once", workers=2, workers_are=workers_are)
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestWorkerDies and SIGKILL"), timeout=120)
    found = verdicts(done)
    assert [found[f"WORK-{n}"][0] for n in (1, 2)] == ["pass", "pass"], done.explain()
    assert facts(done, "WORK-2")["who_owns_the_connections"] == "a process in front of them"
    assert facts(done, "WORK-2")["executed_twice"] == 0


@pytest.mark.real
def test_who_declares_no_restart_is_held_to_none(tmp_path: Path) -> None:
    folder = target(tmp_path / "t", "at-most-once", workers=2, limit=0)
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestWorkerDies and SIGKILL"), timeout=120)
    found = verdicts(done)
    assert [found[f"WORK-{n}"][0] for n in (1, 2)] == ["unsupported", "pass"], done.explain()
    assert "max_restarts = 0" in found["WORK-1"][1]


@pytest.mark.real
def test_a_front_that_lets_clients_wait_fails(tmp_path: Path) -> None:
    folder = target(tmp_path / "t", "hangs", patience=3)
    chosen = ("-k", "(TestWorkerDies and SIGKILL) or TestEveryWorkerDies")
    done = run(folder, report=tmp_path / "r", arguments=chosen, timeout=180)
    found = verdicts(done)
    assert found["WORK-2"][0] == "fail" and "got no answer within 3 s" in found["WORK-2"][1], done.output
    assert found["WORK-8"][0] == "fail" and "got no answer" in found["WORK-8"][1], done.output


@pytest.mark.real
def test_a_request_that_runs_twice_is_a_finding(tmp_path: Path) -> None:
    folder = target(tmp_path / "t")
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestWorkerDies and SIGKILL"), timeout=120)
    verdict, summary = verdicts(done)["WORK-2"]
    assert (verdict, "executed twice" in summary) == ("fail", True), done.output


@pytest.mark.real
def test_a_readiness_that_knows_no_workers_fails(tmp_path: Path) -> None:
    folder = target(tmp_path / "t", "always-ready", limit=2, patience=3)
    chosen = ("-k", "TestEveryWorkerDies or TestNoWorkerEverLoads")
    done = run(folder, report=tmp_path / "r", arguments=chosen, timeout=180)
    failed = {v["scenario"] for v in done.results["verdicts"] if v["verdict"] == "fail"}
    assert failed == {"workers.TestEveryWorkerDies[1w]", "workers.TestNoWorkerEverLoads[1w-declared]"}, done.output
    assert {v["requirement"] for v in done.results["verdicts"] if v["verdict"] == "fail"} == {"WORK-8"}


@pytest.mark.real
@pytest.mark.parametrize(("declared", "real", "expected"), [(2, 2, "pass"), (2, 5, "fail"), (0, 0, "pass")])
def test_attempts_at_a_start_that_never_succeeds_are_counted(
    tmp_path: Path, declared: int, real: int, expected: str
) -> None:
    folder = target(tmp_path / "t", limit=declared)
    manifest = folder / "drainproof.toml"
    manifest.write_text(manifest.read_text().replace(f'"limit={declared}"', f'"limit={real}"'))
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestNoWorkerEverLoads"), timeout=180)
    found = verdicts(done)
    assert (found["WORK-5"][0], found["WORK-7"][0]) == (expected, "pass"), done.output
    assert facts(done, "WORK-5")["most_attempts"] == 1 + declared


@pytest.mark.real
@pytest.mark.parametrize(("real", "expected"), [("seconds=1.5", "pass"), ("limit=6", "fail")])
def test_a_limit_in_seconds_is_held_against_the_failures(tmp_path: Path, real: str, expected: str) -> None:
    """Failures after 0, 0.3 and 0.9 s are each followed by an attempt; the last one comes later than after 1.5 s."""
    folder = target(tmp_path / "t", "limit=99", real, limit=99)
    manifest = folder / "drainproof.toml"
    text = manifest.read_text().replace("max_restarts = 99", "max_seconds = 1.5").replace(', "limit=99"]', "]")
    manifest.write_text(text)
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestNoWorkerEverLoads"), timeout=180)
    assert verdicts(done)["WORK-5"][0] == expected, done.output
    assert facts(done, "WORK-5")["most_attempts"] == 1 + 3


@pytest.mark.real
def test_a_server_without_workers_is_unsupported(tmp_path: Path) -> None:
    """It says that it has two, and its main process does everything itself."""
    folder = target(tmp_path / "t", workers=2, workers_are="")
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestSupervisorDies"), timeout=120)
    verdict, summary = verdicts(done)["WORK-9"]
    assert (verdict, "name them in [workers] command" in summary) == ("unsupported", True), done.output


def test_one_worker_that_nobody_names_makes_no_scenario(tmp_path: Path) -> None:
    folder = target(tmp_path / "t", workers_are="")
    done = run(
        folder, report=tmp_path / "r", arguments=("-k", "workers.Test or TestTakenPort or [http-1w]"), timeout=60
    )
    assert not any(v["scenario"].startswith("workers.") for v in done.results["verdicts"])


@pytest.mark.real
@pytest.mark.parametrize("workers_are", [BY_COMMAND, BY_ANSWERS])
@pytest.mark.parametrize(("really", "expected"), [(2, "pass"), (1, "fail")])
def test_workers_behind_a_front_are_seen_to_serve(tmp_path: Path, workers_are: str, really: int, expected: str) -> None:
    """The front owns all connections, so that it takes `[workers]` to see who serves."""
    folder = target(tmp_path / "t", f"workers={really}", workers=2, workers_are=workers_are)
    done = run(folder, report=tmp_path / "r", arguments=("-k", "test_every_worker_serves and 2w"), timeout=120)
    assert verdicts(done)["START-6"][0] == expected, done.output
    assert facts(done, "START-6")["serving_processes"] == really


@pytest.mark.parametrize(
    ("workers", "workers_are", "expected"),
    [("1", BY_COMMAND, {"1w"}), ("[1, 2]", BY_COMMAND, {"1w", "2w"}), ("[1, 2]", "", {"2w"})],
)
def test_one_worker_is_supervised_where_it_is_named(
    tmp_path: Path, workers: str, workers_are: str, expected: set[str]
) -> None:
    folder = target(tmp_path / "t", workers=workers, workers_are=workers_are)
    command = pytest_command(f"--target={folder}", "--collect-only", "-q", "-k", "TestSupervisorDies")
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert set(re.findall(r"TestSupervisorDies::\S+\[(\d+w)\]", done.stdout)) == expected, done.stdout
