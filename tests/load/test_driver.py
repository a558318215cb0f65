"""The driver and its engine: they start, report, stop, fail and die together."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from drainproof.errors import HarnessError
from drainproof.load import ledger
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Closed, Hold, Once, SlowReader, Steady
from faulty_server import FaultyServer
from playing import finished, in_time, plan_for, soon


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_neither_locust_nor_gevent_is_imported_by_the_driver() -> None:
    code = "import drainproof.load.driver, sys; print({'locust', 'gevent', 'pytest'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


class TestRun:
    def test_progress_tells_what_became_of_each_stream(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        plan = plan_for(
            server.port,
            *(Once(name=way, request=way, count=2) for way in ("ok", "wrong_token", "eof_in_head", "hang")),
        )
        with engine.run(plan=plan, ledger=path) as run:
            assert set(run.progress().streams) == {"ok", "wrong_token", "eof_in_head", "hang"}
            seen = soon(run, lambda p: p.recorded == 6 and len(p.streams["hang"].in_flight_ports) == 2)
            assert (seen.state, seen.issued, seen.in_flight) == ("running", 8, 2)
            assert [(s.right, s.wrong, s.failed, s.in_flight) for s in seen.streams.values()] == [
                (2, 0, 0, 0),
                (0, 2, 0, 0),
                (0, 0, 2, 0),
                (0, 0, 0, 2),
            ]
            assert abs(seen.t - time.monotonic()) < 10  # the same clock
            read = finished(run, grace=0)
            assert run.progress().state == "ended"
        assert {r.port for r in read.requests if r.cause == "aborted"} == set(seen.streams["hang"].in_flight_ports)

    def test_stop_lets_requests_in_flight_end_within_the_grace(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        plan = plan_for(
            server.port,
            Hold(name="hold", request="stall", in_flight=4),
            Closed(name="closed", request="ok", users=2),
            SlowReader(name="reader", request="large", count=1),
        )
        server.gate.clear()
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: len(p.streams["hold"].in_flight_ports) == 4 and p.streams["closed"].right > 10)
            threading.Timer(0.3, server.gate.set).start()
            begin = time.monotonic()
            read = finished(run, grace=20)
        assert 0.2 < time.monotonic() - begin < 10  # not the whole grace, though the slow reader never ends
        assert [r.right for r in read.requests if r.stream == "hold"] == [True] * 4
        assert read.summary is not None
        assert all(r.due <= read.summary.stopped_at for r in read.requests)

    def test_what_is_in_flight_after_the_grace_is_aborted(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        with engine.run(plan=plan_for(server.port, Once(name="o", request="hang", count=3)), ledger=path) as run:
            soon(run, lambda p: len(p.streams["o"].in_flight_ports) == 3)
            begin = time.monotonic()
            read = finished(run, grace=0.3)
        assert 0.3 <= time.monotonic() - begin < 5
        assert [(r.phase, r.cause) for r in read.requests] == [("waiting", "aborted")] * 3
        assert read.summary is not None
        assert (read.summary.aborted, read.summary.locust_requests) == (3, 0)

    def test_a_stop_in_the_middle_of_everything_reconciles(
        self, engine: LoadEngine, server: FaultyServer, tmp_path: Path
    ) -> None:
        streams = (
            Steady(name="fast", request="hang", rate=2000),
            Steady(name="kept", request="ok", rate=300),
            Hold(name="hold", request="ok", in_flight=10, stagger=0.2),
        )
        for number in range(5):
            with engine.run(plan=plan_for(server.port, *streams), ledger=tmp_path / str(number)) as run:
                soon(run, lambda p, least=number: p.recorded > 3 + least)
                run.stop(grace=0)
            read = ledger.read(tmp_path / str(number))
            late = read.starvation()  # at this rate any machine may be too slow, and says so
            assert [problem for problem in read.problems() if problem not in late] == []
            assert read.summary == run.summary

    def test_wait_for_gives_up_in_time(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        with engine.run(plan=plan_for(server.port), ledger=path) as run:
            begin = time.monotonic()
            with pytest.raises(TimeoutError, match="did not hold in time"):
                soon(run, lambda p: p.issued > 0, 0.2)
            assert 0.2 <= time.monotonic() - begin < 2
            finished(run)
            with pytest.raises(TimeoutError, match="ended before"):
                soon(run, lambda p: p.issued > 0)

    def test_runs_overlap_and_each_is_quick(self, engine: LoadEngine, server: FaultyServer, tmp_path: Path) -> None:
        plan = plan_for(server.port, Steady(name="s", request="ok", rate=50))
        begin = time.monotonic()
        runs = [engine.run(plan=plan, ledger=tmp_path / f"{n}") for n in range(4)]
        assert time.monotonic() - begin < 10
        assert len({run.pid for run in runs}) == 4
        for run in runs:
            soon(run, lambda p: p.recorded >= 5)
            finished(run)
            run.stop(grace=0)  # once more does nothing
        assert in_time(lambda: not any(alive(run.pid) for run in runs if run.pid))

    def test_the_ledger_grows_while_the_run_goes_on(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        with engine.run(plan=plan_for(server.port, Steady(name="s", request="ok", rate=50)), ledger=path) as run:
            soon(run, lambda p: p.recorded >= 1)
            assert in_time(lambda: len(ledger.read(path).requests) >= 1, 2.0)
            assert ledger.read(path).problems() == ["the load engine did not end in order: its ledger has no summary"]

    def test_a_stalled_engine_is_no_measurement(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        with engine.run(plan=plan_for(server.port, Steady(name="s", request="ok", rate=50)), ledger=path) as run:
            soon(run, lambda p: p.recorded >= 1)
            assert run.pid is not None
            os.kill(run.pid, signal.SIGSTOP)
            time.sleep(2.1)
            os.kill(run.pid, signal.SIGCONT)
            stopped = time.monotonic()
            soon(run, lambda p: p.t > stopped + 0.1)
            run.stop(grace=5)
        problems = ledger.read(path).problems()
        assert len(problems) == 2 and "stood still" in problems[0] and "could not keep its schedule" in problems[1]


class TestTrouble:
    def test_an_engine_killed_in_the_middle_leaves_a_readable_ledger(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        with engine.run(plan=plan_for(server.port, Steady(name="s", request="ok", rate=100)), ledger=path) as run:
            soon(run, lambda p: p.recorded >= 80)
            assert run.pid is not None
            os.kill(run.pid, signal.SIGKILL)
            with pytest.raises(HarnessError, match="the load engine ended unexpectedly"):
                soon(run, lambda p: p.recorded > 10**6)
            for call in (run.progress, lambda: run.stop(grace=1)):
                with pytest.raises(HarnessError):
                    call()
        read = ledger.read(path)
        assert len(read.requests) >= 20
        assert read.summary is None and read.problems()

    def test_an_engine_that_fails_says_why(self, engine: LoadEngine, server: FaultyServer, tmp_path: Path) -> None:
        plan = plan_for(server.port)
        with pytest.raises(HarnessError, match="No such file or directory"):
            engine.run(plan=plan, ledger=tmp_path / "missing" / "ledger")
        (tmp_path / "taken").write_text("evidence")
        with pytest.raises(HarnessError, match="File exists"):
            engine.run(plan=plan, ledger=tmp_path / "taken")
        assert (tmp_path / "taken").read_text() == "evidence"

    def test_a_full_disk_is_an_error_of_ours(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        with engine.run(plan=plan_for(server.port, Steady(name="s", request="ok", rate=100)), ledger=path) as run:
            assert run.pid is not None
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (3000, 3000))
            with pytest.raises(HarnessError, match=r"(?s)the load engine failed:.*File too large"):
                soon(run, lambda p: p.recorded > 10**6)
        assert ledger.read(path).summary is None

    def test_a_killed_zygote_is_reported_once_and_replaced(self, server: FaultyServer, tmp_path: Path) -> None:
        with LoadEngine() as engine:
            plan = plan_for(server.port, Once(name="o", request="hang", count=1))
            with engine.run(plan=plan, ledger=tmp_path / "1") as run:
                soon(run, lambda p: p.issued == 1)
                assert engine.pid is not None and run.pid is not None
                os.kill(engine.pid, signal.SIGKILL)
                assert in_time(lambda: not alive(run.pid or 0), 5)
                with pytest.raises(HarnessError):
                    run.stop(grace=0)
            with pytest.raises(HarnessError, match="the load engine is gone"):
                engine.run(plan=plan, ledger=tmp_path / "2")
            with engine.run(plan=plan, ledger=tmp_path / "3") as run:
                soon(run, lambda p: p.issued == 1)
                finished(run, grace=0)

    def test_closing_ends_everything(self, server: FaultyServer, path: Path) -> None:
        engine = LoadEngine()
        run = engine.run(plan=plan_for(server.port, Once(name="o", request="hang", count=1)), ledger=path)
        zygote = engine.pid
        assert zygote is not None and run.pid is not None
        assert os.getsid(zygote) == zygote  # out of reach of a terminal's Ctrl-C
        soon(run, lambda p: p.issued == 1)
        engine.close()
        engine.close()
        assert in_time(lambda: not alive(zygote or 0) and not alive(run.pid or 0), 5)
        with pytest.raises(HarnessError):
            soon(run, lambda _: False)

    def test_a_run_that_is_left_alone_ends_at_once(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        with engine.run(plan=plan_for(server.port, Once(name="o", request="hang", count=1)), ledger=path) as run:
            soon(run, lambda p: p.issued == 1)
        assert in_time(lambda: not alive(run.pid or 0), 5)
        with pytest.raises(HarnessError, match="before it could be stopped in order"):
            run.stop(grace=0)

    @pytest.mark.parametrize("fork", [False, True], ids=["", "while a fork of it holds its descriptors"])
    def test_nothing_is_left_when_the_driver_is_killed(self, server: FaultyServer, path: Path, fork: bool) -> None:
        code = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from playing import plan_for, soon
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Steady

engine = LoadEngine()
run = engine.run(plan=plan_for({server.port}, Steady(name="s", request="ok", rate=50)), ledger=Path({str(path)!r}))
soon(run, lambda p: p.recorded > 5)
other = os.fork() if {fork} else 0
if {fork} and other == 0:
    time.sleep(60)
print(engine.pid, run.pid, other, flush=True)
time.sleep(60)
"""
        driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert driver.stdout is not None
        zygote, child, other = map(int, driver.stdout.readline().split())
        try:
            assert alive(zygote) and alive(child)
            driver.kill()
            driver.wait()
            assert in_time(lambda: not alive(zygote) and not alive(child), 5)
        finally:
            if other:
                os.kill(other, signal.SIGKILL)
        assert len(ledger.read(path).requests) > 5
