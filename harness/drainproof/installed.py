"""The scenario packages and report plugins that are installed, by their entry points.

`drainproof.scenarios`: name → a package whose modules hold scenarios. `drainproof.reports`: name → a plugin module with
hooks of `drainproof.plugin.hookspecs`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

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
    distribution: str = ""
    """What was installed to have it, such as `acme-scenarios 1.2`; empty where nobody knows."""

    @property
    def nodeid(self) -> str:
        """The node id of the package: the same wherever it is installed."""
        return self.module.replace(".", "/")

    @property
    def prefix(self) -> str:
        """What stands before the ids of its scenarios: nothing for the built-in ones."""
        return "" if self.name == BUILTIN else self.module + "."


def scenario_packages() -> list[ScenarioPackage]:
    """All scenario packages, the built-in one first. Raises UserError for one that cannot be found."""
    found = {entry.value: entry for entry in sorted(metadata.entry_points(group=SCENARIOS), key=lambda e: e.name)}
    packages = [
        ScenarioPackage(
            name=entry.name,
            module=module,
            folder=_folder(entry.name, module),
            distribution="" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}",
        )
        for module, entry in found.items()
    ]
    return sorted(packages, key=lambda package: package.name != BUILTIN)


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
