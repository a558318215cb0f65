"""Finds a model store of TorchServe: archives (.mar), and a config.properties.

The main process is Java, not the command `torchserve`: that one is a wrapper which keeps stop signals to itself and
gives an exit status of its own. TorchServe takes its ports from a file; environment variables take their place only
where the file says `enable_envvars_config=true`. Where it does not, a copy that does is proposed beside the manifest.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drainproof.proposing.proposal import PYTHON, TOKEN, Ask, Proposal, Start, interpreter
from drainproof.proposing.source import Module, bodies, payload_keys

CONFIG = "config.properties"
OWN_CONFIG = "drainproof.config.properties"
PORTS = ("http", "management", "metrics", "grpc", "grpc_management")
ADDRESSES = {
    "TS_INFERENCE_ADDRESS": "http://127.0.0.1:{port}",
    "TS_MANAGEMENT_ADDRESS": "http://127.0.0.1:{management_port}",
    "TS_METRICS_ADDRESS": "http://127.0.0.1:{metrics_port}",
    "TS_GRPC_INFERENCE_PORT": "{grpc_port}",
    "TS_GRPC_MANAGEMENT_PORT": "{grpc_management_port}",
    "LOG_LOCATION": "{tmp}/logs",
    "METRICS_LOCATION": "{tmp}/logs",
}
NEEDED = {"enable_envvars_config": "true", "disable_token_authorization": "true"}
"""What the configuration must say: ports by environment variables, and requests without a key."""

OF_TORCHSERVE = ("body", "data")
"""Keys that it adds itself."""


def propose(folder: Path, modules: Sequence[Module]) -> Proposal | None:
    """A manifest for the archives in `folder`; None where there are none."""
    archives = [*sorted(folder.glob("*.mar")), *sorted(folder.glob("*/*.mar"))]
    if not archives:
        return None
    store = archives[0].parent
    archives = [archive for archive in archives if archive.parent == store]
    config = next((path for path in (folder / CONFIG, store / CONFIG) if path.is_file()), None)
    models = dict(_model(archive) for archive in archives)
    python, packages = _environment(folder)
    home = packages or "PACKAGES"
    name, files, changed = _config(config, folder)
    command = (
        "java",
        f"-Dmodel_server_home={home}",
        "-Djava.io.tmpdir={tmp}",
        *("-cp", f"{home}/ts/frontend/*"),
        "org.pytorch.serve.ModelServer",
        *("--python", python),
        *("-f", name),
        *("-s", store.relative_to(folder).as_posix() or "."),
        *("-ncs", "-m", *(f"{model}={archive.name}" for model, archive in zip(models, archives, strict=True))),
    )
    todo = list(changed)
    if not packages:
        todo.append("TorchServe was not found: write the folder that has its ts/ in the place of PACKAGES")
    return Proposal(
        kind="TorchServe",
        found=(
            *(f"the model archive {archive.relative_to(folder).as_posix()}" for archive in archives),
            *(() if config is None else (f"{config.relative_to(folder).as_posix()}",)),
        ),
        start=Start(command=command, env=ADDRESSES, ports=PORTS, deadline=60),
        readiness="/ping",
        requests=tuple(
            Ask(path=f"/predictions/{model}", json=body) for model, keys in models.items() for body in _bodies(keys)
        ),
        tables={
            "policy": {"startup_failure": "stays_up_not_ready"},
            "workers": {"command": r"ts/model_service_worker\.py"},
        },
        todo={"start": tuple(todo)} if todo else {},
        files=files,
    )


def _bodies(keys: Sequence[str]) -> list[Any]:
    return [*bodies(keys, TOKEN), {"text": TOKEN}, {"data": TOKEN}, [1.0, 2.0, 3.0, 4.0]]


def _model(archive: Path) -> tuple[str, list[str]]:
    """The name of the model in an archive, and what its handler looks up in what it is sent."""
    try:
        with zipfile.ZipFile(archive) as content:
            model = json.loads(content.read("MAR-INF/MANIFEST.json"))["model"]
            handler = str(model.get("handler", "")).partition(":")[0]
            keys = payload_keys(ast.parse(content.read(handler))) if handler in content.namelist() else []
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, SyntaxError):
        return archive.stem, []
    return archive.stem, [key for key in keys if key not in OF_TORCHSERVE]


def _environment(folder: Path) -> tuple[str, str]:
    """The Python that has TorchServe, and its packages; no packages where it was not found."""
    python = interpreter(folder)
    if python != PYTHON:
        real = python.replace("{folder}", str(folder))
    elif (Path(sysconfig.get_path("purelib")) / "ts").is_dir():
        return PYTHON, sysconfig.get_path("purelib")
    else:
        wrapper = shutil.which("torchserve")
        real = str(Path(wrapper).with_name("python")) if wrapper else sys.executable
        python = real
    try:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        done = subprocess.run([real, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return python, ""
    found = done.stdout.strip()
    if not (Path(found) / "ts").is_dir():
        return python, ""
    inside = os.path.relpath(found, folder)
    return python, found if inside.startswith("..") else f"{{folder}}/{inside}"


def _config(config: Path | None, folder: Path) -> tuple[str, dict[str, str], list[str]]:
    """The name of the configuration to start with, the files to write for that, and what the user should know of it."""
    said = "" if config is None else config.read_text(encoding="utf-8", errors="replace")
    known = {line.partition("=")[0].strip() for line in said.splitlines() if not line.lstrip().startswith("#")}
    right = all(f"{key}={value}" in said.replace(" ", "") for key, value in NEEDED.items())
    if config is not None and right:
        return config.relative_to(folder).as_posix(), {}, []
    kept = [line for line in said.splitlines() if line.partition("=")[0].strip() not in NEEDED]
    lines = [*kept, "# Needed to be started on free ports, and asked without a key:"]
    lines += [f"{key}={value}" for key, value in NEEDED.items()]
    origin = "a configuration of its own" if config is None else f"a copy of {config.relative_to(folder).as_posix()}"
    changed = ", ".join(key for key in NEEDED if key not in known or config is None)
    text = f"{OWN_CONFIG} is {origin} with {changed or ', '.join(NEEDED)}; keep it beside this file"
    return OWN_CONFIG, {OWN_CONFIG: "\n".join(lines) + "\n"}, [text]
