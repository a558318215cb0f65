"""The scenario packages and report plugins that are installed, by their entry points.

`drainproof.scenarios`: name → a package whose modules hold scenarios. `drainproof.reports`: name → a plugin module with
hooks of `drainproof.plugin.hookspecs`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from drainproof.errors import UserError

SCENARIOS = "drainproof.scenarios"
REPORTS = "drainproof.reports"
BUILTIN = "builtin"


@dataclass(frozen=True, kw_only=True)
class ScenarioPackage:
    """An installed package of scenarios."""

    name: str
    """The entry point's name."""
    module: str
    """What is imported, such as `drainproof_scenarios`."""
    folder: Path

    @property
    def nodeid(self) -> str:
        """The node id of the package: the same wherever it is installed."""
        return self.module.replace(".", "/")

    @property
    def prefix(self) -> str:
        """What stands before the ids of its scenarios: nothing for the built-in ones."""
        return "" if self.name == BUILTIN else self.module + "."


def scenario_packages(config: pytest.Config) -> list[ScenarioPackage]:
    """All scenario packages of this run, the built-in one first. Raises UserError for one that cannot be found."""
    found = {ep.value: ep.name for ep in sorted(metadata.entry_points(group=SCENARIOS), key=lambda ep: ep.name)}
    packages = [
        ScenarioPackage(name=name, module=module, folder=_folder(name, module)) for module, name in found.items()
    ]
    packages.sort(key=lambda package: package.name != BUILTIN)
    config.hook.pytest_drainproof_scenarios(config=config, packages=packages)
    return packages


def _folder(name: str, module: str) -> Path:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError) as error:
        raise UserError(f"scenario package {module!r} (entry point {name!r}) cannot be imported: {error}") from error
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        raise UserError(
            f"entry point {name!r} of {SCENARIOS} names {module!r}, which is not a package: "
            "name a folder with an __init__.py"
        )
    return Path(spec.origin).parent


def report_plugins() -> list[tuple[str, object]]:
    """Names and loaded modules of all reports, the built-in ones last (pluggy calls the last one registered first)."""
    found = sorted(metadata.entry_points(group=REPORTS), key=lambda ep: (ep.name == BUILTIN, ep.name))
    loaded = []
    for ep in found:
        try:
            loaded.append((ep.name, ep.load()))
        except Exception as error:  # whatever a foreign module raises when it is imported
            raise UserError(f"report {ep.name!r} ({ep.value}) cannot be loaded: {error}") from error
    return loaded


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
