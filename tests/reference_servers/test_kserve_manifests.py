"""The KServe targets: their manifests, the script that makes their environments, and the one that starts them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from drainproof import requirement
from drainproof.faults.exceptions import ExceptionFault
from drainproof.target.manifest import load_target
from drainproof.verdict import OUTCOMES

from tests.reference_servers.environments import Environments, run_script
from tests.reference_servers.truths import SERVERS, expected, truths

KSERVE = SERVERS / "kserve"
RELEASES = ["0.11.2", "0.13.1", "0.15.2", "0.21.0"]


# The manifests


def test_every_release_has_a_folder() -> None:
    assert sorted(path.parent.name for path in KSERVE.glob("*/drainproof.toml")) == RELEASES


@pytest.mark.parametrize("release", RELEASES)
class TestManifest:
    def test_it_is_valid_and_starts_its_own_release(self, release: str) -> None:
        target = load_target(KSERVE / release)
        assert target.name == f"kserve-{release}"
        assert target.command[:2] == ("../run", release)
        assert target.ports == ("http", "grpc")
        assert target.workers == (1, 2)

    def test_it_has_a_request_for_every_kind_of_scenario(self, release: str) -> None:
        target = load_target(KSERVE / release)
        endless = target.endless()
        assert (target.fast().name, target.slow().name, endless and endless.name) == ("fast", "slow", "endless")
        assert target.load_failure is not None

    def test_its_requirements_pin_everything_and_its_release(self, release: str) -> None:
        lines = (KSERVE / release / "requirements.txt").read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert f"kserve=={release}" in pins
        assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", pin)] == []


# The hand-measured truths

STOPS = [f"{signal}-{recipient}" for signal in ("SIGTERM", "SIGINT") for recipient in ("main", "group")]
SCENARIOS = [
    *(f"drain.TestStopUnderLoad[{stop}-{workers}]" for stop in STOPS for workers in ("1w", "2w")),
    *(f"drain.TestSecondSignal[{stop}-{workers}]" for stop in STOPS for workers in ("1w", "2w")),
    "start.TestPortTaken[1w-http]",
    "start.TestSigtermDuringStartUp[at-once-2w]",
    *(
        f"{scenario}-{workers}]"
        for workers in ("1w", "2w")
        for scenario in (
            "exceptions.TestExitInHandler[SystemExit",
            "exceptions.TestMainCoroutine[idle",
            "exceptions.TestMainCoroutine[busy",
            "exceptions.TestProtocolTask[rest-idle",
            "exceptions.TestProtocolTask[grpc-busy",
            "exceptions.TestInTheLoop[callback",
            "exceptions.TestStopPath[SIGTERM",
            "start_methods.TestStartMethodPreset[spawn",
        )
    ),
    "windows.TestStartAndCtrlC[1w]",
    "windows.TestCtrlBreak[2w]",
    "grpc.TestBothProtocols[SIGTERM-main-1w]",
    "grpc.TestEndlessInBothProtocols[SIGINT]",
]


def test_truths_name_what_exists() -> None:
    for truth in truths("kserve"):
        assert set(truth.releases) <= set(RELEASES), truth
        assert requirement.get(truth.requirement), truth
        assert set(truth.verdicts) <= set(OUTCOMES), truth
        assert truth.verdicts, truth
        assert truth.why, truth


@pytest.mark.parametrize("release", RELEASES)
def test_no_two_truths_contradict_each_other(release: str) -> None:
    ids = sorted({truth.requirement for truth in truths("kserve")})
    found = [
        expected("kserve", release=release, requirement=id, scenario=scenario) for id in ids for scenario in SCENARIOS
    ]
    assert any(found)


@pytest.mark.parametrize(
    ("release", "scenario", "id", "verdict"),
    [
        ("0.11.2", "start.TestPortTaken[1w-http]", "START-3", "fail"),
        ("0.13.1", "start.TestPortTaken[1w-http]", "START-3", "pass"),
        ("0.13.1", "start.TestPortTaken[1w-http]", "EXIT-5", "pass"),
        ("0.15.2", "start.TestPortTaken[1w-http]", "EXIT-5", "fail"),
        ("0.21.0", "start.TestPortTaken[1w-http]", "EXIT-5", "fail"),
        ("0.13.1", "drain.TestStopUnderLoad[SIGTERM-main-2w]", "DRAIN-10", "fail"),
        ("0.21.0", "drain.TestStopUnderLoad[SIGTERM-main-2w]", "DRAIN-10", "pass"),
        ("0.13.1", "drain.TestStopUnderLoad[SIGINT-group-1w]", "DRAIN-1", "pass"),
        ("0.21.0", "drain.TestStopUnderLoad[SIGINT-group-1w]", "EXIT-1", "pass"),
        ("0.11.2", "exceptions.TestProtocolTask[rest-idle-1w]", "EXC-4", "fail"),
        ("0.11.2", "exceptions.TestProtocolTask[rest-idle-1w]", "EXIT-5", "fail"),
        ("0.13.1", "exceptions.TestProtocolTask[rest-idle-1w]", "EXC-4", "pass"),
        ("0.13.1", "exceptions.TestProtocolTask[rest-idle-1w]", "EXIT-5", "pass"),
        ("0.15.2", "exceptions.TestProtocolTask[rest-idle-1w]", "EXC-4", "pass"),
        ("0.15.2", "exceptions.TestProtocolTask[rest-idle-1w]", "EXIT-5", "fail"),
        ("0.13.1", "start_methods.TestStartMethodPreset[taken-2w]", "START-5", "fail"),
        ("0.15.2", "start_methods.TestStartMethodPreset[taken-2w]", "START-5", "pass"),
        ("0.13.1", "windows.TestStartAndCtrlC[1w]", "WIN-1", "fail"),
        ("0.21.0", "windows.TestStartAndCtrlC[1w]", "WIN-1", "pass"),
        ("0.11.2", "exceptions.TestInTheLoop[callback-1w]", "EXC-4", "pass"),
        ("0.13.1", "exceptions.TestInTheLoop[callback-1w]", "EXIT-5", "fail"),
    ],
)
def test_the_promised_truths_are_among_them(release: str, scenario: str, id: str, verdict: str) -> None:
    truth = expected("kserve", release=release, requirement=id, scenario=scenario)
    assert truth is not None
    assert truth.verdicts == (verdict,)


# The environment


@pytest.fixture
def bench(tmp_path: Path) -> Environments:
    return Environments("kserve", tmp_path)


class TestEnvironment:
    def test_it_prints_the_python_that_it_made(self, bench: Environments) -> None:
        result = bench.make("0.21.0")
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"{bench.cache}/kserve-0.21.0/bin/python\n"
        assert "-m pip install" in bench.asked

    def test_a_finished_one_is_used_again(self, bench: Environments) -> None:
        first = bench.make("0.21.0")
        again = bench.make("0.21.0")
        assert (again.returncode, again.stdout) == (0, first.stdout)
        assert "pip" not in bench.asked

    def test_one_that_failed_half_way_is_made_anew(self, bench: Environments) -> None:
        failed = bench.make("0.21.0", STUB_PIP_FAILS="1")
        assert failed.returncode != 0
        assert "no network" in failed.stderr
        (bench.cache / "kserve-0.21.0" / "debris").touch()
        assert bench.make("0.21.0").returncode == 0
        assert not (bench.cache / "kserve-0.21.0" / "debris").exists()

    def test_one_from_other_requirements_is_made_anew(self, bench: Environments) -> None:
        bench.make("0.21.0")
        (bench.cache / "kserve-0.21.0" / "finished").write_text("kserve==0.21.0\n")
        assert bench.make("0.21.0").returncode == 0
        assert "-m pip install" in bench.asked

    def test_one_whose_python_is_gone_is_made_anew(self, bench: Environments) -> None:
        bench.make("0.21.0")
        (bench.cache / "kserve-0.21.0" / "bin" / "python").unlink()
        assert bench.make("0.21.0").returncode == 0
        assert "-m pip install" in bench.asked

    def test_a_release_without_a_tested_set_says_so(self, bench: Environments) -> None:
        result = bench.make("0.20.0")
        assert result.returncode == 0
        assert "No tested set of packages for KServe 0.20.0" in result.stderr

    def test_no_python_3_11(self, bench: Environments) -> None:
        (bench.bin / "python3.11").write_text("#!/bin/sh\nexit 127\n")
        result = bench.make("0.21.0")
        assert result.returncode == 1
        assert "needs Python 3.11" in result.stderr

    @pytest.mark.parametrize("arguments", [[], ["newest"], ["0.21.0", "0.13.1"], ["../0.21.0"]])
    def test_anything_but_a_release_is_explained(self, arguments: list[str], tmp_path: Path) -> None:
        result = run_script(KSERVE / "environment", *arguments, DRAINPROOF_ENVIRONMENTS=str(tmp_path))
        assert result.returncode == 2
        assert "usage:" in result.stderr
        assert list(tmp_path.iterdir()) == []


class TestRun:
    def test_a_missing_environment_is_explained(self, tmp_path: Path) -> None:
        result = run_script(KSERVE / "run", "0.21.0", "--http_port", "1", DRAINPROOF_ENVIRONMENTS=str(tmp_path))
        assert result.returncode == 1
        assert "There is no environment for KServe 0.21.0" in result.stderr
        assert f"{KSERVE}/environment 0.21.0" in result.stderr

    def test_it_becomes_the_server(self, tmp_path: Path) -> None:
        folder = tmp_path / "kserve-0.21.0"
        (folder / "bin").mkdir(parents=True)
        (folder / "finished").touch()
        python = folder / "bin" / "python"
        python.write_text('#!/bin/sh\necho "$$ $*"\n')
        python.chmod(0o755)
        process = subprocess.Popen(
            [str(KSERVE / "run"), "0.21.0", "--http_port", "8080"],
            env={**os.environ, "DRAINPROOF_ENVIRONMENTS": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        output, _ = process.communicate(timeout=20)
        assert output == f"{process.pid} {KSERVE}/model.py --http_port 8080\n"


# The model itself, on the real thing


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, object]:
    """Status and JSON of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(
            method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.real
@pytest.mark.parametrize("release", RELEASES)
def test_the_model_echoes_over_both_protocols(release: str) -> None:
    made = subprocess.run([str(KSERVE / "environment"), release], check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    http_port, grpc_port = free_port(), free_port()
    command = [str(KSERVE / "run"), release, "--http_port", str(http_port), "--grpc_port", str(grpc_port)]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None and time.monotonic() < deadline, "it did not become ready"
                try:
                    if ask(http_port, "GET", "/v2/models/echo/ready")[0] == 200:
                        break
                except OSError:
                    time.sleep(0.05)
            status, answer = ask(http_port, "POST", "/v1/models/echo:predict", {"instances": [{"token": "one"}]})
            assert (status, answer) == (200, {"predictions": ["one"], "pid": process.pid})
            tensor = {"name": "token", "shape": [1], "datatype": "BYTES", "data": ["two"]}
            status, answer = ask(http_port, "POST", "/v2/models/echo/infer", {"inputs": [tensor]})
            assert status == 200 and '"two"' in json.dumps(answer)
            called = subprocess.run(
                [made.stdout.strip(), "-c", MODEL_INFER, str(grpc_port)], check=False, capture_output=True
            )
            assert b"three" in called.stdout, called.stderr.decode()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


MODEL_INFER = """
import sys
import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages, grpc_predict_v2_pb2_grpc as services

with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
    request = messages.ModelInferRequest(model_name="echo")
    tensor = request.inputs.add(name="token", shape=[1], datatype="BYTES")
    tensor.contents.bytes_contents.append(b"three")
    print(services.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10))
"""


def test_an_exception_in_a_handler_is_meant_for_the_requests_of_one_protocol() -> None:
    # Over gRPC, the same exception costs KServe more than over HTTP: the verdict must not depend on who comes first.
    target = load_target(KSERVE / "0.21.0")
    http = ExceptionFault(site="handler", only_requests=True, protocol="http").paths(target)
    grpc = ExceptionFault(site="handler", only_requests=True, protocol="grpc").paths(target)
    assert http == ("/v1/models/echo:predict",)
    assert grpc == ("/inference.GRPCInferenceService/ModelInfer",)
    assert set(ExceptionFault(site="handler", only_requests=True).paths(target) or ()) == {*http, *grpc}
    assert ExceptionFault(site="handler").paths(target) is None
