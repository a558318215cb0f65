"""The TorchServe targets: their manifests, the script that makes their environments, and the one that starts them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from drainproof import requirement
from drainproof.target.manifest import load_target
from drainproof.target.ports import reserve
from drainproof.verdict import OUTCOMES

from tests.reference_servers.environments import Environments, run_script
from tests.reference_servers.truths import SERVERS, expected, truths

TORCHSERVE = SERVERS / "torchserve"
RELEASES = ["0.11.1", "0.12.0", "0.8.2", "0.9.0"]
PORTS = ("http", "management", "metrics", "grpc", "grpc_management")
FLAGS = ("--port", "--management-port", "--metrics-port", "--grpc-port", "--grpc-management-port")


# The manifests


def test_every_release_has_a_folder() -> None:
    assert sorted(path.parent.name for path in TORCHSERVE.glob("*/drainproof.toml")) == RELEASES


@pytest.mark.parametrize("release", RELEASES)
class TestManifest:
    def test_it_is_valid_and_starts_its_own_release(self, release: str) -> None:
        target = load_target(TORCHSERVE / release)
        assert target.name == f"torchserve-{release}"
        assert target.command[:2] == ("../run", release)
        assert target.ports == PORTS
        assert target.workers == (1, 2)

    def test_it_has_a_request_for_every_kind_of_scenario(self, release: str) -> None:
        target = load_target(TORCHSERVE / release)
        endless = target.endless()
        assert (target.fast().name, target.slow().name, endless and endless.name) == ("fast", "slow", "endless")
        assert target.load_failure is not None

    def test_its_requirements_pin_everything_and_its_release(self, release: str) -> None:
        lines = (TORCHSERVE / release / "requirements.txt").read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert f"torchserve=={release}" in pins
        assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", pin)] == []

    def test_all_releases_are_asked_the_same(self, release: str) -> None:
        text = (TORCHSERVE / release / "drainproof.toml").read_text(encoding="utf-8")
        assert text.replace(release, "0.12.0") == (TORCHSERVE / "0.12.0" / "drainproof.toml").read_text(
            encoding="utf-8"
        )


# The hand-measured truths

SCENARIOS = [
    *(
        f"drain.TestStopUnderLoad[{name}-{recipient}-{workers}]"
        for name in ("SIGTERM", "SIGINT")
        for recipient in ("main", "group")
        for workers in ("1w", "2w")
    ),
    "drain.TestSecondSignal[SIGTERM-main-1w]",
    "drain.TestIdleConnections[SIGTERM]",
    "drain.TestOtherSignals[SIGQUIT-main-1w]",
    "drain.TestOtherSignals[SIGHUP-main-1w]",
    "start.TestStart[1w]",
    "start.TestStart[2w]",
    *(f"start.TestPortTaken[{workers}-{port}]" for port in PORTS for workers in ("1w", "2w")),
    "start.TestModelCannotBeLoaded[1w]",
    "start.TestSigtermDuringStartUp[at-once-2w]",
    "bad_clients.TestMalformedRequests[1w]",
    "bad_clients.TestVanishingClients[1w]",
]


def test_truths_name_what_exists() -> None:
    for truth in truths("torchserve"):
        assert {release.removesuffix("-no-retry") for release in truth.releases} <= set(RELEASES), truth
        assert requirement.get(truth.requirement), truth
        assert set(truth.verdicts) <= set(OUTCOMES), truth
        assert truth.verdicts, truth
        assert truth.why, truth


@pytest.mark.parametrize("release", RELEASES)
def test_no_two_truths_contradict_each_other(release: str) -> None:
    ids = sorted({truth.requirement for truth in truths("torchserve")})
    found = [
        expected("torchserve", release=release, requirement=id, scenario=scenario)
        for id in ids
        for scenario in SCENARIOS
    ]
    assert any(found)


@pytest.mark.parametrize("release", RELEASES)
def test_the_promised_truths_are_among_them(release: str) -> None:
    stop = "drain.TestStopUnderLoad[SIGTERM-main-1w]"
    for id, verdict in (("DRAIN-1", "fail"), ("EXIT-1", "pass")):
        truth = expected("torchserve", release=release, requirement=id, scenario=stop)
        assert truth is not None
        assert truth.verdicts == (verdict,)


# The environment


@pytest.fixture
def bench(tmp_path: Path) -> Environments:
    found = Environments("torchserve", tmp_path)
    found.stub("java", JAVA_17)
    return found


JAVA_17 = """#!/bin/sh
echo 'openjdk version "17.0.15" 2025-04-15' >&2
"""
JAVA_8 = """#!/bin/sh
echo 'openjdk version "1.8.0_412"' >&2
"""


class TestEnvironment:
    def test_it_prints_the_python_that_it_made(self, bench: Environments) -> None:
        result = bench.make("0.12.0", JAVA_HOME="")
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"{bench.cache}/torchserve-0.12.0/bin/python\n"
        assert "-m pip install" in bench.asked

    def test_a_finished_one_is_used_again(self, bench: Environments) -> None:
        first = bench.make("0.12.0", JAVA_HOME="")
        again = bench.make("0.12.0", JAVA_HOME="")
        assert (again.returncode, again.stdout) == (0, first.stdout)
        assert "pip" not in bench.asked

    def test_one_that_failed_half_way_is_made_anew(self, bench: Environments) -> None:
        failed = bench.make("0.12.0", JAVA_HOME="", STUB_PIP_FAILS="1")
        assert failed.returncode != 0
        assert "no network" in failed.stderr
        (bench.cache / "torchserve-0.12.0" / "debris").touch()
        assert bench.make("0.12.0", JAVA_HOME="").returncode == 0
        assert not (bench.cache / "torchserve-0.12.0" / "debris").exists()

    def test_a_release_without_a_tested_set_says_so(self, bench: Environments) -> None:
        result = bench.make("0.10.0", JAVA_HOME="")
        assert result.returncode == 0
        assert "No tested set of packages for TorchServe 0.10.0" in result.stderr

    def test_no_java(self, bench: Environments) -> None:
        bench.stub("java", "#!/bin/sh\nexit 127\n")
        result = bench.make("0.12.0", JAVA_HOME="")
        assert result.returncode == 1
        assert "needs Java 17 or newer. Asked for its version, 'java' says: it cannot be started" in result.stderr
        assert "apt install openjdk-17-jre-headless" in result.stderr
        assert not bench.cache.exists()

    def test_a_java_that_is_too_old(self, bench: Environments) -> None:
        bench.stub("java", JAVA_8)
        result = bench.make("0.12.0", JAVA_HOME="")
        assert result.returncode == 1
        assert """'java' says: openjdk version "1.8.0_412""" in result.stderr

    def test_java_home_comes_first(self, bench: Environments, tmp_path: Path) -> None:
        result = bench.make("0.12.0", JAVA_HOME=str(tmp_path / "no-java"))
        assert result.returncode == 1
        assert f"'{tmp_path}/no-java/bin/java' says: it cannot be started" in result.stderr

    def test_no_python_3_11(self, bench: Environments) -> None:
        bench.stub("python3.11", "#!/bin/sh\nexit 127\n")
        result = bench.make("0.12.0", JAVA_HOME="")
        assert result.returncode == 1
        assert "needs Python 3.11" in result.stderr

    @pytest.mark.parametrize("arguments", [[], ["newest"], ["0.12.0", "0.9.0"], ["../0.12.0"]])
    def test_anything_but_a_release_is_explained(self, arguments: list[str], tmp_path: Path) -> None:
        result = run_script(TORCHSERVE / "environment", *arguments, DRAINPROOF_ENVIRONMENTS=str(tmp_path))
        assert result.returncode == 2
        assert "usage:" in result.stderr
        assert list(tmp_path.iterdir()) == []


# The start: a real virtual environment without TorchServe in it, and a stub for Java


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of environments in which 0.12.0 is taken for finished, beside a Java that says how it was called."""
    folder = tmp_path_factory.mktemp("environments")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "torchserve-0.12.0")], check=True, timeout=60
    )
    (folder / "torchserve-0.12.0" / "finished").touch()
    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(SAYS_ITS_START)
    java.chmod(0o755)
    return folder


SAYS_ITS_START = """#!/bin/sh
echo "$$"
for argument in "$@"; do echo "$argument"; done
env
"""


def start(made: Path, *arguments: str, **environment: str) -> tuple[int, list[str], str]:
    """The pid that was started, the lines that Java said, and the last line of stderr."""
    ports = [part for flag, number in zip(FLAGS, range(8080, 8085), strict=True) for part in (flag, str(number))]
    process = subprocess.Popen(
        [str(TORCHSERVE / "run"), "0.12.0", *ports, *arguments],
        env={
            **os.environ,
            "DRAINPROOF_ENVIRONMENTS": str(made),
            "JAVA_HOME": str(made / "java"),
            "TMPDIR": str(made),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output, errors = process.communicate(timeout=30)
    return process.pid, output.splitlines(), errors


def archive(made: Path, *arguments: str) -> dict[str, str]:
    """The files in the model archive that such a start serves."""
    _, lines, errors = start(made, *arguments)
    assert not errors
    with zipfile.ZipFile(Path(lines[lines.index("-s") + 1]) / "echo.mar") as mar:
        return {name: mar.read(name).decode() for name in mar.namelist()}


class TestRun:
    def test_a_missing_environment_is_explained(self, tmp_path: Path) -> None:
        result = run_script(TORCHSERVE / "run", "0.12.0", "--port", "1", DRAINPROOF_ENVIRONMENTS=str(tmp_path))
        assert result.returncode == 1
        assert "There is no environment for TorchServe 0.12.0" in result.stderr
        assert f"{TORCHSERVE}/environment 0.12.0" in result.stderr

    def test_it_becomes_java(self, made: Path) -> None:
        pid, lines, errors = start(made, "--workers", "2")
        assert not errors
        assert lines[0] == str(pid)
        assert "org.pytorch.serve.ModelServer" in lines
        assert f"-Djava.io.tmpdir={made}" in lines
        assert {
            "TS_INFERENCE_ADDRESS=http://127.0.0.1:8080",
            "TS_MANAGEMENT_ADDRESS=http://127.0.0.1:8081",
            "TS_METRICS_ADDRESS=http://127.0.0.1:8082",
            "TS_GRPC_INFERENCE_PORT=8083",
            "TS_GRPC_MANAGEMENT_PORT=8084",
            "TS_DEFAULT_WORKERS_PER_MODEL=2",
        } <= set(lines)

    def test_workers_find_the_stub_behind_what_was_there(self, made: Path) -> None:
        _, lines, _ = start(made, PYTHONPATH="/somewhere")
        assert f"PYTHONPATH=/somewhere:{TORCHSERVE}/stub" in lines

    def test_without_java_it_says_so(self, made: Path) -> None:
        _, lines, errors = start(made, JAVA_HOME=str(made / "nowhere"))
        assert (lines, "apt install openjdk-17-jre-headless" in errors) == ([], True)

    def test_the_archive_has_the_model_that_was_asked_for(self, made: Path) -> None:
        for model in ("echo", "syntax_error", "initialize_raises"):
            files = archive(made, "--model", model)
            assert files["handler.py"] == (TORCHSERVE / "models" / model / "handler.py").read_text()
            assert json.loads(files["MAR-INF/MANIFEST.json"])["model"]["modelName"] == "echo"

    def test_the_last_model_that_is_named_counts(self, made: Path) -> None:
        assert "SyntaxError" not in archive(made, "--model", "echo", "--model", "initialize_raises")["handler.py"]
        assert "weights" in archive(made, "--model", "echo", "--model", "initialize_raises")["handler.py"]

    def test_retries_are_limited_in_the_archive(self, made: Path) -> None:
        assert "maxRetryTimeoutInSec: 0\n" in archive(made, "--retry", "0")["model-config.yaml"]
        assert "maxRetryTimeoutInSec" not in archive(made)["model-config.yaml"]

    def test_an_archive_is_made_once(self, made: Path) -> None:
        archive(made)
        before = {path: path.stat().st_mtime_ns for path in made.rglob("*.mar")}
        archive(made)
        assert {path: path.stat().st_mtime_ns for path in made.rglob("*.mar")} == before


def test_the_syntax_error_is_one() -> None:
    source = (TORCHSERVE / "models" / "syntax_error" / "handler.py").read_text()
    with pytest.raises(SyntaxError):
        compile(source, "handler.py", "exec")


# The model itself, on the real thing


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, object]:
    """Status and JSON of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.real
@pytest.mark.parametrize("release", RELEASES)
def test_the_model_echoes_and_refuses(release: str, tmp_path: Path) -> None:
    made = subprocess.run([str(TORCHSERVE / "environment"), release], check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with reserve(names=PORTS) as ports:
        numbers = dict(ports)
    command = [str(TORCHSERVE / "run"), release]
    command += [part for flag, port in zip(FLAGS, PORTS, strict=True) for part in (flag, str(numbers[port]))]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, start_new_session=True, env=environment) as process:
        try:
            deadline = time.monotonic() + 120
            while True:
                assert process.poll() is None and time.monotonic() < deadline, "it did not become ready"
                try:
                    status, described = ask(numbers["management"], "/models/echo")
                    if status == 200 and described[0]["workers"][0]["status"] == "READY":  # type: ignore[index]
                        break
                except OSError:
                    pass
                time.sleep(0.05)
            worker = described[0]["workers"][0]["pid"]  # type: ignore[index]
            path = "/predictions/echo"
            assert ask(numbers["http"], path, b'{"token": "one"}') == (200, {"token": "one", "pid": worker})
            assert [ask(numbers["http"], path, body)[0] for body in (b'{"token": ', b"[1]", b"{}")] == [400] * 3
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 143
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
