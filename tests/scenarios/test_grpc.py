"""The gRPC scenarios on a small server of both protocols, through the front door."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.runs import ROOT, Run, run

MANIFEST = """
[start]
command = ["{{python}}", "{server}", "{{port}}", "{{grpc_port}}", {switches}]
ports = ["http", "grpc"]
deadline = 10
[health]
readiness = "/ready"
[[request]]
name = "fast"
path = "/predict"
body = "{{token}} 0"
expect = {{ contains = "{{token}}" }}
[[request]]
name = "slow"
path = "/predict"
body = "{{token}} 1"
expect = {{ contains = "{{token}}" }}
duration = 1
[[request]]
name = "events"
path = "/stream"
stream = true
expect = {{ contains = "end" }}
duration = 1
[[request]]
name = "grpc-fast"
protocol = "grpc"
rpc = "/test.Service/Echo"
message = "{{token}} 0"
expect = {{ contains = "{{token}}" }}
[[request]]
name = "grpc-slow"
protocol = "grpc"
rpc = "/test.Service/Echo"
message = "{{token}} 1"
expect = {{ contains = "{{token}}" }}
duration = 1
[[request]]
name = "count"
protocol = "grpc"
rpc = "/test.Service/Count"
message = "{{token}} 10 100"
stream = true
expect = {{ contains = "{{token}}", messages = 10 }}
duration = 1
[policy]
grace_period = 8
streams = "{streams}"
"""


def judged(folder: Path, scenario: str, *switches: str, streams: str = "complete") -> Run:
    target = folder / "target"
    target.mkdir()
    quoted = ", ".join(f'"{switch}"' for switch in switches)
    server = ROOT / "tests" / "servers" / "both.py"
    (target / "drainproof.toml").write_text(MANIFEST.format(server=server, switches=quoted, streams=streams))
    return run(target, report=folder / "report", arguments=("-k", scenario), timeout=120)


def outcome(done: Run) -> dict[str, str]:
    """Verdicts by check."""
    return {v["check"]: v["verdict"] for v in done.results["verdicts"]}


BOTH = "TestBothProtocols and SIGTERM-main"


def test_both_protocols_drain(tmp_path: Path) -> None:
    done = judged(tmp_path, BOTH)
    assert set(outcome(done).values()) == {"pass"}, done.explain()
    facts = {v["check"]: v["facts"] for v in done.results["verdicts"]}
    assert facts["test_calls_in_flight_complete"]["grpc_fates"] == {"right": 6}
    assert facts["test_calls_in_flight_complete"]["http_fates"] == {"right": 6}
    assert facts["test_later_calls_are_turned_away"]["refused"] > 0


@pytest.mark.real
def test_calls_that_get_no_time(tmp_path: Path) -> None:
    done = judged(tmp_path, BOTH, "cut-grpc")
    assert outcome(done)["test_calls_in_flight_complete"] == "fail", done.explain()
    summaries = " ".join(v["summary"] for v in done.results["verdicts"])
    assert "gRPC calls that were accepted before the signal got no right answer, while HTTP" in summaries


@pytest.mark.real
def test_a_grpc_port_that_is_closed_last(tmp_path: Path) -> None:
    done = judged(tmp_path, BOTH, "grpc-last")
    assert outcome(done)["test_order_of_the_shutdown"] == "fail", done.explain()
    assert outcome(done)["test_calls_in_flight_complete"] == "pass"


@pytest.mark.real
def test_ready_without_grpc_is_not_serving(tmp_path: Path) -> None:
    done = judged(tmp_path, "TestStart and START", "no-grpc")
    assert done.by_requirement("fail") == {"START-1"}, done.explain()
    assert "no connection for gRPC could be made" in done.output


@pytest.mark.real
@pytest.mark.parametrize(
    ("switches", "streams", "protocol", "verdict"),
    [
        ((), "complete", "grpc", "pass"),
        (("cut-streams",), "complete", "http", "fail"),
        (("cut-streams",), "cut", "grpc", "pass"),
        (("cut-streams",), "cut", "http", "pass"),
        (("tear-streams",), "cut", "http", "fail"),
    ],
)
def test_streams(tmp_path: Path, switches: tuple[str, ...], streams: str, protocol: str, verdict: str) -> None:
    done = judged(tmp_path, f"TestStreams and SIGTERM-main and {protocol}", *switches, streams=streams)
    assert outcome(done)["test_streams_end_as_declared"] == verdict, done.explain()


def test_without_a_grpc_request_it_is_unsupported(tmp_path: Path) -> None:
    manifest = "\n".join(MANIFEST.splitlines()).format(
        server=ROOT / "tests/servers/both.py", switches="", streams="cut"
    )
    head, tail = manifest.split('[[request]]\nname = "events"')
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "drainproof.toml").write_text(head + "[policy]" + tail.split("[policy]")[1])
    done = run(tmp_path / "target", report=tmp_path / "report", arguments=("-k", "grpc and SIGTERM-main"), timeout=60)
    assert set(outcome(done).values()) == {"unsupported"}, done.explain()
    assert 'declares no gRPC request ([[request]] with protocol = "grpc")' in done.output.replace(
        "\n             ", " "
    )
