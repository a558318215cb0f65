"""The scenario packages of a run: those that are installed, as the hooks of this run change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from drainproof import installed
from drainproof.installed import ScenarioPackage


def scenario_packages(config: pytest.Config) -> list[ScenarioPackage]:
    """All scenario packages of this run, the built-in one first. Raises UserError for one that cannot be found."""
    packages = installed.scenario_packages()
    config.hook.pytest_drainproof_scenarios(config=config, packages=packages)
    return packages


def resolve(argument: str, *, packages: list[ScenarioPackage], here: Path) -> str | None:
    """`argument` with an absolute path if it names a scenario, by path or by node id. None for anything else."""
    name, *rest = argument.split("::")
    path = here / name
    if not path.exists():
        for package in packages:
            if name == package.nodeid or name.startswith(package.nodeid + "/"):
                path = package.folder / name[len(package.nodeid) + 1 :]
    if not any(path == p.folder or p.folder in path.parents for p in packages):
        return None
    return "::".join([str(path), *rest])
