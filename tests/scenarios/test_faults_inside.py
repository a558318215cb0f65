"""Exceptions inside a real target, as a user runs them: what is proven, and what is said where nothing can be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.real.runs import ROOT, Run, environment, judge, pytest_command, run

SERVER = Path(__file__).resolve().parents[1] / "servers" / "inside" / "server.py"

MANIFEST = """
[start]
command = ["{{python}}", {options} "{server}", "{{port}}" {switches}]
deadline = 10
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
[policy]
grace_period = 3
settle_time = 1
stop_signals = ["SIGTERM"]
[fail_points]
{points}
"""

POINTS = 'handler = "app:Model.predict"\nload = "app:Model.load"\nstop = "app:stop"\ntask = "app:clean_up"'


def target(folder: Path, *switches: str, points: str = POINTS, options: str = "") -> Path:
    folder.mkdir()
    words = "".join(f', "{switch}"' for switch in switches)
    text = MANIFEST.format(server=SERVER, switches=words, points=points, options=options)
    (folder / "drainproof.toml").write_text(text)
    return folder


def the_verdict(done: Run) -> tuple[str, str]:
    """Verdict and summary of the only check."""
    assert len(done.results["verdicts"]) == 1, done.output
    verdict = done.results["verdicts"][0]
    return verdict["verdict"], verdict["summary"]


HANDLER = ("-k", "TestExceptionInHandler")


def test_an_exception_in_a_handler_is_proven_and_judged_again(tmp_path: Path) -> None:
    live = run(target(tmp_path / "t"), report=tmp_path / "r", arguments=HANDLER, timeout=120)
    verdict, summary = the_verdict(live)
    assert verdict == "pass", live.explain()
    facts = live.results["verdicts"][0]["facts"]
    assert facts["raised_in_requests"] == 3
    assert 1 <= facts["answered_5xx"] <= 3
    assert facts["raised"] == ["app:Model.predict"]
    assert the_verdict(judge(tmp_path / "r", report=tmp_path / "again")) == (verdict, summary)


@pytest.mark.real
@pytest.mark.parametrize(
    ("switch", "said"), [("answers-200", "got no 5xx"), ("dies-of-it", "an exception in a handler ended the server")]
)
def test_a_server_that_deals_badly_with_it_fails(tmp_path: Path, switch: str, said: str) -> None:
    done = run(target(tmp_path / "t", switch), report=tmp_path / "r", arguments=HANDLER, timeout=120)
    verdict, summary = the_verdict(done)
    assert (verdict, said in summary) == ("fail", True), done.output


def test_a_wrong_fail_point_is_an_error_that_helps(tmp_path: Path) -> None:
    points = 'handler = "app:Model.predcit"'
    done = run(target(tmp_path / "t", points=points), report=tmp_path / "r", arguments=HANDLER, timeout=120)
    verdict, summary = the_verdict(done)
    assert verdict == "error", done.output
    assert "app:Model.predcit" in summary and "Did you mean app:Model.predict?" in summary, summary


@pytest.mark.real
def test_a_module_that_is_not_imported_is_inconclusive(tmp_path: Path) -> None:
    points = 'handler = "api:predict"'
    done = run(target(tmp_path / "t", points=points), report=tmp_path / "r", arguments=HANDLER, timeout=120)
    verdict, summary = the_verdict(done)
    assert (verdict, "never imported api" in summary) == ("inconclusive", True), done.output


def test_a_target_that_keeps_the_shim_out_is_unsupported(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    # Isolated, an interpreter does not have the script's own folder on its path either.
    script.write_text(
        SERVER.read_text().replace("import app", f"sys.path.insert(0, {str(SERVER.parent)!r})\nimport app")
    )
    folder = target(tmp_path / "t", options='"-I",')
    manifest = folder / "drainproof.toml"
    manifest.write_text(manifest.read_text().replace(str(SERVER), str(script)))
    done = run(folder, report=tmp_path / "r", arguments=HANDLER, timeout=120)
    verdict, summary = the_verdict(done)
    assert (verdict, "loaded drainproof's shim" in summary) == ("unsupported", True), done.output


@pytest.mark.real
def test_a_model_that_raises(tmp_path: Path) -> None:
    arguments = ("-k", "TestModelRaises")
    done = run(target(tmp_path / "t"), report=tmp_path / "r", arguments=arguments, timeout=120)
    assert the_verdict(done)[0] == "pass", done.output


@pytest.mark.real
def test_a_stop_path_that_raises(tmp_path: Path) -> None:
    arguments = ("-k", "TestStopPath")
    done = run(target(tmp_path / "t"), report=tmp_path / "r", arguments=arguments, timeout=120)
    assert the_verdict(done)[0] == "pass", done.output
    assert done.results["verdicts"][0]["facts"]["exit_status"] == 1


@pytest.mark.real
@pytest.mark.parametrize("preset", ["spawn", "taken"])
def test_a_preset_start_method(tmp_path: Path, preset: str) -> None:
    arguments = ("-k", f"TestStartMethodPreset and {preset}")
    done = run(target(tmp_path / "t"), report=tmp_path / "r", arguments=arguments, timeout=120)
    assert the_verdict(done)[0] == "pass", done.output
    assert "before the first line of the target" in done.results["verdicts"][0]["facts"]["given"]


OWN = (
    POINTS
    + """
[[fail_points.own]]
name = "first-requests"
at = "app:Model.predict"
raises = "MemoryError"
call = 3
shots = 2
[[fail_points.own]]
name = "stop-while-serving"
at = "app:stop"
"""
)


@pytest.mark.real
def test_exceptions_of_the_owners_choice_are_scenarios(tmp_path: Path) -> None:
    arguments = ("-k", "TestOwnFailPoint")
    done = run(target(tmp_path / "t", points=OWN), report=tmp_path / "r", arguments=arguments, timeout=120)
    verdicts = {v["scenario"]: (v["verdict"], v["summary"]) for v in done.results["verdicts"]}
    assert list(verdicts) == [
        "exceptions.TestOwnFailPoint[1w-first-requests]",
        "exceptions.TestOwnFailPoint[1w-stop-while-serving]",
    ], done.output
    survived, never_reached = verdicts.values()
    # The first call may be the one that finds out whether the server is ready: it then fails and is asked again.
    assert survived[0] == "pass", done.output
    assert never_reached[0] == "inconclusive" and "was never reached" in never_reached[1], done.output


def test_a_target_without_such_exceptions_has_no_such_scenario(tmp_path: Path) -> None:
    arguments = ("-k", "TestOwnFailPoint or (TestModelRaises)", "--collect-only", "-q")
    folder = target(tmp_path / "t")
    command = pytest_command(f"--target={folder}", f"--report-dir={tmp_path / 'r'}", *arguments)
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert "TestModelRaises" in done.stdout
    assert "TestOwnFailPoint" not in done.stdout


@pytest.mark.real
@pytest.mark.parametrize(("switches", "expected"), [((), "pass"), (("comes-and-goes",), "fail")])
def test_what_a_supervisor_makes_of_the_end_of_its_worker(
    tmp_path: Path, switches: tuple[str, ...], expected: str
) -> None:
    """While others drain it neither serves nor is it hanging; and who serves for moments only does not serve on."""
    folder = target(tmp_path / "t", *switches, points="")
    manifest = folder / "drainproof.toml"
    text = manifest.read_text().replace("server.py", "supervisor.py").replace("grace_period = 3", "grace_period = 10")
    manifest.write_text(text)
    arguments = ("-k", "TestMainCoroutine and idle")
    done = run(folder, report=tmp_path / "r", arguments=arguments, timeout=120)
    verdicts = {v["requirement"]: (v["verdict"], v["summary"]) for v in done.results["verdicts"]}
    assert verdicts["EXC-3"][0] == expected, done.output


FRONT = """
[start]
command = [{command}]
deadline = 5
[health]
readiness = "/ready"
[[request]]
path = "/predict"
json = {{ token = "{{token}}" }}
expect = {{ contains = "{{token}}" }}
[policy]
grace_period = 3
"""
WORKER = """
import socket, time
assert socket.AF_UNIX  # the front end, which sees Linux, listens on such a socket
print("up", flush=True)
time.sleep(600)
"""
BECOMES = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
"""A launcher in Python, which the shim is in, and which becomes the front end, which it is not in."""


@pytest.mark.real
@pytest.mark.parametrize("launcher", ["", f'"-c", "{BECOMES}", '], ids=["itself", "by exec"])
def test_a_front_end_that_does_not_see_windows_is_not_blamed_for_workers_that_do(tmp_path: Path, launcher: str) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    front = (
        f'"{{python}}", {launcher}"-I", "{SERVER.parents[1] / "foreign_front.py"}", "{{port}}", "{{folder}}/worker.py"'
    )
    (folder / "drainproof.toml").write_text(FRONT.format(command=front))
    (folder / "worker.py").write_text(WORKER)
    done = run(folder, report=tmp_path / "r", arguments=("-k", "TestStartAndCtrlC"), timeout=120)
    verdicts = {v["verdict"]: v["summary"] for v in done.results["verdicts"]}
    assert list(verdicts) == ["unsupported"], done.explain() + done.output
    assert "Windows cannot be emulated in the process that serves" in verdicts["unsupported"]
