"""`drainproof init` on servers as people have them: what it proposes starts, and can be judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.commands.front_door import drainproof
from tests.real.engine import require_engine
from tests.real.runs import SERVERS, run

pytestmark = pytest.mark.real

BASE = os.environ.get("BASE", "python:3.11-slim")
"""An image with Python."""

IN_A_CONTAINER = """
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({"path": self.path})
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("0.0.0.0", 9000), Handler).serve_forever()
"""


def environment(server: str, version: str) -> Path:
    """The virtual environment of a release."""
    script = SERVERS / server / "environment"
    made = subprocess.run([script, version], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return Path(made).parent.parent


def judged(folder: Path, report: Path) -> dict[str, str]:
    """The verdicts of one scenario by requirement: the manifest is one that works."""
    live = run(folder, report=report, arguments=("-k", "TestStopUnderLoad and SIGTERM-main"), timeout=300)
    assert not any("did not start" in verdict["summary"] for verdict in live.results["verdicts"]), live.explain()
    return {verdict["requirement"]: verdict["verdict"] for verdict in live.results["verdicts"]}


def test_kserve(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(SERVERS / "kserve" / "model.py", folder)
    (folder / ".venv").symlink_to(environment("kserve", "0.21.0"))
    done = drainproof("init", folder)
    assert done.status == 0, done.out
    assert "confirmed   POST /v1/models/echo:predict answered 200 with the token of its request" in done.out
    assert judged(folder, tmp_path / "report")["EXIT-1"] == "pass"


def test_torchserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = environment("torchserve", "0.12.0")
    monkeypatch.setenv("PATH", f"{made / 'bin'}:{os.environ['PATH']}")  # as where it is installed for all
    monkeypatch.setenv("PYTHONPATH", str(SERVERS / "torchserve" / "stub"))
    folder = tmp_path / "server"
    (folder / "model-store").mkdir(parents=True)
    (folder / "config.properties").write_text("inference_address=http://0.0.0.0:8080\n")
    with zipfile.ZipFile(folder / "model-store" / "echo.mar", "w") as archive:
        model = {"modelName": "echo", "handler": "handler.py"}
        manifest = {
            "createdOn": "01/01/2024 00:00:00",
            "runtime": "python",
            "model": model,
            "archiverVersion": "0.12.0",
        }
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.write(SERVERS / "torchserve" / "models" / "echo" / "handler.py", "handler.py")
    done = drainproof("init", folder)
    assert done.status == 0, done.out
    assert "confirmed   POST /predictions/echo answered 200 with the token of its request" in done.out
    assert judged(folder, tmp_path / "report")["EXIT-1"] == "pass"


def test_a_container(tmp_path: Path) -> None:
    require_engine()
    (tmp_path / "server.py").write_text(IN_A_CONTAINER)
    (tmp_path / "Dockerfile").write_text(
        f'FROM {BASE}\nCOPY server.py .\nEXPOSE 9000\nCMD ["python3", "-u", "server.py"]\n'
    )
    done = drainproof("init", tmp_path)
    assert done.status == 0, done.out
    assert "confirmed   GET / answered 200" in done.out
    assert "ports = { http = 9000 }" in (tmp_path / "drainproof.toml").read_text()
