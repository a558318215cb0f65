"""A Docker engine of a test's own: with docker-proxy, or with its processes out of sight."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PATIENCE = 60.0


@contextlib.contextmanager
def own_engine(*, image: str, proxy: bool = False, before: Sequence[str] = ()) -> Iterator[str]:
    """The address of an engine that has `image`; `before` is what it is started by.

    Skips the test where none can be started. Ended by its pid, with what it mounted and its bridge.
    """
    if shutil.which("dockerd") is None or shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("takes dockerd, ip and root, to start an engine")
    number = random.SystemRandom().randrange(256)
    bridge = f"dpt-{os.getpid()}"[:15]
    folder = Path(tempfile.mkdtemp(prefix="dpt-"))
    address = f"unix://{folder}/s"
    try:
        subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
        subprocess.run(["ip", "addr", "add", f"172.31.{number}.1/24", "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *before,
                    *("dockerd", "--host", address, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                    *("--pidfile", f"{folder}/pid", "--bridge", bridge, "--ip", "127.0.0.1"),
                    f"--userland-proxy={str(proxy).lower()}",
                    "--iptables=false",  # a second engine would put its own rules in the place of the first one's
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            _await(address, process, folder)
            save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
            subprocess.run(["docker", "-H", address, "load"], stdin=save.stdout, stdout=subprocess.DEVNULL, check=True)
            assert save.wait() == 0
            yield address
        finally:
            for child in _children(process.pid) if before else [process.pid]:
                subprocess.run(["kill", str(child)], check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            process.wait()
    finally:
        subprocess.run(["ip", "link", "del", bridge], check=False)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if str(folder) in line.split()[1]:
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _await(address: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while subprocess.run(["docker", "-H", address, "version"], capture_output=True, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > until:
            log = (folder / "log").read_text(errors="replace")[-1500:]
            pytest.skip(f"no engine of our own could be started here:\n{log}")
        time.sleep(0.1)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
