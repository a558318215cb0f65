"""Which scenarios are installed, without a target: the classes that pytest would make scenarios of.

How many scenarios each class becomes depends on the target (its stop signals, its workers);
`pytest --target=DIR --collect-only` says that.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from drainproof.errors import UserError
from drainproof.installed import ScenarioPackage, scenario_packages

REQUIREMENT = "drainproof_requirement"
"""The attribute that `drainproof.scenario.requirement` gives a check."""


@dataclass(frozen=True, kw_only=True)
class ScenarioClass:
    """One class of scenarios."""

    package: str
    """What is imported, such as `drainproof_scenarios`."""
    id: str
    """What the ids of its scenarios begin with: `drain.TestStopUnderLoad`."""
    scenario: type
    """The class itself."""
    checks: tuple[tuple[str, Callable[..., object]], ...]
    """The id of the requirement and the function of each check, by the names of the checks."""

    @property
    def name(self) -> str:
        """The class's own name."""
        return self.id.rpartition(".")[2]

    @property
    def title(self) -> str:
        """In words; parameters are in braces."""
        return (inspect.getdoc(self.scenario) or self.name).strip().partition("\n")[0].rstrip(". ")

    @property
    def requirements(self) -> tuple[str, ...]:
        """The ids that it checks, each once."""
        return tuple(dict.fromkeys(identity for identity, _ in self.checks))


def scenario_classes(package: ScenarioPackage) -> Iterator[ScenarioClass]:
    """The scenarios of one package, by module and name. Raises UserError where a module cannot be imported."""
    for found in pkgutil.walk_packages([str(package.folder)], prefix=package.module + "."):
        below = found.name[len(package.module) + 1 :]
        if any(part.startswith("_") for part in below.split(".")):
            continue
        try:
            module = import_module(found.name)
        except Exception as error:  # whatever a foreign module raises
            raise UserError(f"{found.name} cannot be imported: {type(error).__name__}: {error}") from error
        for name, scenario in inspect.getmembers(module, inspect.isclass):
            if name.startswith("Test") and scenario.__module__ == found.name and not inspect.isabstract(scenario):
                checks = inspect.getmembers(scenario, inspect.isfunction)
                yield ScenarioClass(
                    package=package.module,
                    id=f"{package.prefix}{below}.{name}",
                    scenario=scenario,
                    checks=tuple((getattr(c, REQUIREMENT), c) for _, c in checks if hasattr(c, REQUIREMENT)),
                )


def all_scenario_classes() -> list[ScenarioClass]:
    """Those of all installed packages, the built-in one first. Raises UserError."""
    return [scenario for package in scenario_packages() for scenario in scenario_classes(package)]
