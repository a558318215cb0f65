"""Whatever happens to pytest, nothing of the target is alive 5 s later."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.real.runs import ROOT, SERVERS, environment, pytest_command

pytestmark = pytest.mark.real

MOMENTS = 20


def ours(marker: str) -> list[psutil.Process]:
    """Living processes that carry our marker in their environment: pytest's children, grandchildren and so on."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("DRAINPROOF_TEST_RUN") == marker:
                found.append(process)
        except psutil.Error:
            continue
    return found


def listening(processes: list[psutil.Process]) -> set[int]:
    """The TCP ports that these processes listen on."""
    ports = set()
    for process in processes:
        try:
            ports |= {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    return ports


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_nothing_survives(how: signal.Signals, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure, to repeat it
    moments = random.Random(seed)
    rounds = MOMENTS if how == signal.SIGKILL else 3
    for number in range(rounds):
        marker = f"{how.name}-{number}-{seed}"
        tmp = tmp_path / marker
        tmp.mkdir()
        process = subprocess.Popen(
            pytest_command(f"--target={SERVERS / 'conforming'}", f"--report-dir={tmp / 'report'}", "-k", "2w"),
            cwd=ROOT,
            env={**environment(), "DRAINPROOF_TEST_RUN": marker, "TMPDIR": str(tmp)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a shell may ignore it
        )
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.3, 12.0))
            ports = listening(ours(marker))
            process.send_signal(how)
            process.wait(30)
            deadline = time.monotonic() + 5.0
            while (left := ours(marker)) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not left, left
            assert not ports & listening(list(psutil.process_iter())), "a port of the target is still open"
            assert not list(tmp.glob("dp-*")), "a temporary folder of the target is left"
        finally:
            process.kill()
            process.wait()
