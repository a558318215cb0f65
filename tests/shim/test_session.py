"""The outside of the shim: what it writes for the inside, and what it makes of the reports."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from drainproof.errors import HarnessError, Inconclusive, Unsupported, UserError
from drainproof.shim import session as session_module
from drainproof.shim.reports import ShimReports
from drainproof.shim.session import INSIDE, FailPoint, ShimSession

HELLO = {"event": "hello", "t": 1.0, "pid": 10, "python": "3.11.7", "armed": ["handler"]}


def point(name: str = "handler", **changes: Any) -> FailPoint:
    values: dict[str, Any] = {"sites": ("@handler",), "exception": "RuntimeError", "message": "m", "when": {"call": 1}}
    return FailPoint(name=name, **{**values, **changes})


def reports(*lines: dict[str, Any]) -> ShimReports:
    return ShimReports(tuple({"t": 2.0, "pid": 10, **line} for line in lines))


def test_nothing_armed_needs_no_plan(tmp_path: Path) -> None:
    session = ShimSession(folder=tmp_path / "shim")
    session.install()
    assert sorted(p.name for p in (tmp_path / "shim").iterdir()) == ["claims", "control", "reports.jsonl"]
    assert session.reports().lines == ()


def test_the_plan_says_what_is_armed(tmp_path: Path) -> None:
    session = ShimSession(folder=tmp_path / "shim", start_method={"method": "spawn", "how": "explicit"})
    session.arm(point())
    session.arm(point("load", sites=("app:load",), shots=3, paths=("/predict",)))
    session.install()
    plan = json.loads((tmp_path / "shim" / "plan.json").read_text())
    assert [(f["name"], f["index"], f["sites"], f["shots"], f["paths"]) for f in plan["faults"]] == [
        ("handler", 0, ["@handler"], 1, None),
        ("load", 1, ["app:load"], 3, ["/predict"]),
    ]
    assert plan["start_method"] == {"method": "spawn", "how": "explicit"}
    assert plan["windows"] is None


def test_another_user_may_report(tmp_path: Path) -> None:
    session = ShimSession(folder=tmp_path / "shim")
    old = os.umask(0o077)
    try:
        session.install()
    finally:
        os.umask(old)
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "shim", *(tmp_path / "shim").iterdir())}
    assert all(mode & 0o006 == 0o006 for mode in modes.values()), modes


def test_a_command_grants_all_shots_of_its_fail_point(tmp_path: Path) -> None:
    session = ShimSession(folder=tmp_path / "shim")
    session.arm(point())
    session.arm(point("stop", shots=7))
    session.install()
    before = time.monotonic()
    assert before <= session.grant("stop") <= time.monotonic()
    assert (tmp_path / "shim" / "control").read_bytes()[:3] == b"\0\7\0"


@pytest.mark.parametrize("shots", [0, 256])
def test_shots_that_the_control_cannot_grant_are_refused(tmp_path: Path, shots: int) -> None:
    with pytest.raises(HarnessError, match="from 1 to 255"):
        ShimSession(folder=tmp_path).arm(point(shots=shots))


def test_two_fail_points_of_one_name_are_refused(tmp_path: Path) -> None:
    session = ShimSession(folder=tmp_path)
    session.arm(point())
    with pytest.raises(HarnessError, match="two fail points"):
        session.arm(point())


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "shim").write_text("a file")
    with pytest.raises(HarnessError, match="cannot write the shim's plan"):
        ShimSession(folder=tmp_path / "shim").install()


def test_a_shim_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "INSIDE", tmp_path / "nothing")
    with pytest.raises(HarnessError, match=r"the shim is missing: .*install drainproof again"):
        ShimSession(folder=tmp_path / "shim").install()


def test_a_shim_that_python_cannot_find_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "a:b"
    inside.mkdir()
    (inside / "sitecustomize.py").touch()
    monkeypatch.setattr(session_module, "INSIDE", inside)
    with pytest.raises(HarnessError, match="PYTHONPATH takes no folder with ':'"):
        ShimSession(folder=tmp_path / "shim").install()


def test_the_environment_puts_the_inside_first(tmp_path: Path) -> None:
    session = ShimSession(folder=tmp_path / "shim")
    environment = session.environment(code=str(INSIDE), folder=str(tmp_path / "shim"))
    assert environment == {"PYTHONPATH": str(INSIDE), "DRAINPROOF_SHIM": str(tmp_path / "shim")}
    assert (INSIDE / "sitecustomize.py").is_file()


def test_waiting_sees_what_is_reported_meanwhile(tmp_path: Path) -> None:
    session = ShimSession(folder=tmp_path / "shim")
    session.install()

    def report() -> None:
        with (tmp_path / "shim" / "reports.jsonl").open("a") as file:
            file.write(json.dumps(HELLO) + "\n")

    timer = threading.Timer(0.05, report)
    timer.start()
    assert session.wait(lambda r: bool(r.interpreters), until=time.monotonic() + 30, meanwhile=lambda: False)
    timer.join()
    assert not session.wait(lambda r: bool(r.fired("x")), until=time.monotonic() + 30, meanwhile=lambda: True)
    assert not session.wait(lambda r: bool(r.fired("x")), until=time.monotonic(), meanwhile=lambda: False)


def test_no_interpreter_is_unsupported() -> None:
    why = reports().why_not_fired("handler", sites=["@handler"])
    assert isinstance(why, Unsupported)
    assert "no Python program" in str(why) and "-I" in str(why)


def test_trouble_inside_is_ours() -> None:
    why = reports(HELLO, {"event": "trouble", "text": "KeyError: 'x'"}).why_unreachable()
    assert isinstance(why, HarnessError) and "KeyError: 'x'" in str(why)


def test_a_wrong_name_is_the_users_and_is_helped() -> None:
    missing = {
        "event": "missing",
        "fault": "load",
        "site": "app:laod",
        "module": "app",
        "name": "laod",
        "near": ["load"],
    }
    why = reports(HELLO, missing).why_not_fired("load", sites=["app:laod"])
    assert isinstance(why, UserError)
    assert "app:laod: module app has no 'laod'. Did you mean app:load?" in str(why)


def test_what_the_shim_looks_for_by_itself_may_be_missing() -> None:
    missing = {
        "event": "missing",
        "fault": "stop",
        "site": "uvicorn:X",
        "module": "uvicorn",
        "name": "X",
        "builtin": True,
    }
    why = reports(HELLO, missing).why_not_fired("stop", sites=["@stop"])
    assert isinstance(why, Unsupported)
    assert '[fail_points] stop = "module:qualified.name"' in str(why)


def test_a_module_that_was_never_imported_is_inconclusive() -> None:
    why = reports(HELLO).why_not_fired("load", sites=["app.model:load"])
    assert isinstance(why, Inconclusive) and "never imported app.model" in str(why)


def test_armed_but_never_reached_is_inconclusive() -> None:
    armed = {"event": "armed", "fault": "load", "site": "app:load"}
    why = reports(HELLO, armed).why_not_fired("load", sites=["app:load"])
    assert isinstance(why, Inconclusive)
    assert "armed at app:load (pid 10), but was never reached" in str(why)


def test_a_last_report_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "reports.jsonl").write_text(json.dumps(HELLO) + '\n{"event": "fi')
    assert len(ShimReports.read(tmp_path).lines) == 1


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    (tmp_path / "reports.jsonl").write_text('{"event": "hello"}\n')
    with pytest.raises(HarnessError, match="no reports"):
        ShimReports.read(tmp_path)
