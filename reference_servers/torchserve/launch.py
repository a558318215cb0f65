"""Becomes TorchServe's Java process, serving one of `models/` under the name `echo`. Runs in TorchServe's environment.

What differs between starts goes in by environment variables and by the model archive, not by files of this start, so
that whatever is left behind in TMPDIR is TorchServe's own.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARCHIVES = Path(sys.prefix) / "archives"
NAME = "echo"

BATCH = {"batchSize": 64, "maxBatchDelay": 10}
"""A worker works on one batch at a time. Without batches it could not have several requests in flight."""

HEAP = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC"]
"""More than enough for this model, and small enough for several of them side by side."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="run VERSION", description="Starts TorchServe with a small model.")
    parser.add_argument("--port", type=int, required=True, help="of the inference API")
    for name in ("management", "metrics", "grpc", "grpc-management"):
        parser.add_argument(f"--{name}-port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    models = sorted(path.parent.name for path in HERE.glob("models/*/handler.py"))
    parser.add_argument(
        "--model", choices=models, default="echo", help="the folder in models/ that is served as 'echo'"
    )
    parser.add_argument(
        "--retry", type=int, metavar="SECONDS", help="maxRetryTimeoutInSec of the model (TorchServe's default is 300)"
    )
    return parser.parse_args()


def archive(*, model: str, retry: int | None) -> Path:
    """A folder with the model archive `echo.mar`, kept beside the environment; made where it is not there yet."""
    config = BATCH if retry is None else {**BATCH, "maxRetryTimeoutInSec": retry}
    manifest = {
        "createdOn": "01/01/2024 00:00:00",
        "runtime": "python",
        "model": {"modelName": NAME, "modelVersion": "1.0", "handler": "handler.py", "configFile": "model-config.yaml"},
        "archiverVersion": "0.12.0",
    }
    files = {
        "MAR-INF/MANIFEST.json": json.dumps(manifest),
        "handler.py": (HERE / "models" / model / "handler.py").read_text(encoding="utf-8"),
        "model-config.yaml": "".join(f"{key}: {value}\n" for key, value in config.items()),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as mar:
        for name, text in files.items():
            mar.writestr(zipfile.ZipInfo(name), text)
    store = ARCHIVES / f"{model}-{hashlib.sha256(content.getvalue()).hexdigest()[:12]}"
    if not store.exists():
        ARCHIVES.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=ARCHIVES))
        (made / f"{NAME}.mar").write_bytes(content.getvalue())
        try:
            made.rename(store)
        except OSError:  # another start has just made the same one
            shutil.rmtree(made)
    return store


def main() -> None:
    """Ends in exec."""
    asked = arguments()
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else shutil.which("java")
    if java is None or not Path(java).exists():
        sys.exit("There is no Java: install version 17 or newer (Debian: apt install openjdk-17-jre-headless).")
    packages = sysconfig.get_path("purelib")
    store = archive(model=asked.model, retry=asked.retry)
    local = "http://127.0.0.1"
    paths = [path for path in (os.environ.get("PYTHONPATH"), str(HERE / "stub")) if path]
    environment = {
        "PYTHONPATH": os.pathsep.join(paths),  # handed on to the workers; whoever set it before comes first
        "TS_INFERENCE_ADDRESS": f"{local}:{asked.port}",
        "TS_MANAGEMENT_ADDRESS": f"{local}:{asked.management_port}",
        "TS_METRICS_ADDRESS": f"{local}:{asked.metrics_port}",
        "TS_GRPC_INFERENCE_PORT": str(asked.grpc_port),
        "TS_GRPC_MANAGEMENT_PORT": str(asked.grpc_management_port),
        "TS_DEFAULT_WORKERS_PER_MODEL": str(asked.workers),
    }
    # The same command line as TorchServe's own command makes, but for the heap and for where it writes.
    command = [
        str(java),
        *HEAP,
        "-XX:-UsePerfData",  # a file in /tmp, whatever TMPDIR says
        f"-Dmodel_server_home={packages}",
        f"-Djava.io.tmpdir={tempfile.gettempdir()}",  # models are unpacked there, and workers listen on sockets there
        f"-Dlog4j.configurationFile={(HERE / 'log4j2.xml').as_uri()}",
        "-cp",
        f"{packages}/ts/frontend/*",
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(HERE / "config.properties")),
        *("-s", str(store)),
        "-ncs",
        *("-m", f"{NAME}={NAME}.mar"),
    ]
    os.execve(command[0], command, {**os.environ, **environment})


if __name__ == "__main__":
    main()
