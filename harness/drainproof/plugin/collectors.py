"""The collectors of scenario packages, which take nothing from the user's configuration.

Modules are all that do not start with `_` (whatever `python_files` says), classes start with `Test`, functions with
`test`, node ids begin with the package's name wherever it is installed.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from drainproof.plugin import fixtures


class PackageCollector(pytest.Directory):
    """A scenario package, or a package in it."""

    module = ""
    """The dotted name."""

    @property
    def obj(self) -> ModuleType:
        """Where pytest looks for fixtures that belong to this node: a module of its own, for it reads each one once."""
        own = ModuleType(self.module)
        vars(own).update(target=fixtures.target, experiment=fixtures.experiment, facts=fixtures.facts)
        return own

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """The modules and packages in the folder, by name; `_helpers.py` and `conftest.py` are none."""
        if not isinstance(self.parent, PackageCollector):
            self.session._fixturemanager.parsefactories(self)
        for path in sorted(self.path.iterdir()):
            if path.name.startswith(("_", ".")) or path.name == "conftest.py":
                continue
            if path.suffix == ".py":
                module: ModuleCollector = ModuleCollector.from_parent(
                    self, path=path, nodeid=f"{self.nodeid}/{path.name}"
                )
                module.module_name = f"{self.module}.{path.stem}"
                yield module
            elif (path / "__init__.py").is_file():
                yield package_collector(
                    self, path=path, nodeid=f"{self.nodeid}/{path.name}", module=f"{self.module}.{path.name}"
                )


def package_collector(parent: pytest.Collector, *, path: Path, nodeid: str, module: str) -> PackageCollector:
    """The collector of the scenario package `module` in the folder `path`."""
    collector: PackageCollector = PackageCollector.from_parent(parent, path=path, nodeid=nodeid)
    collector.module = module
    return collector


class ModuleCollector(pytest.Module):
    """A module of a scenario package, imported by its real name whatever the import mode is."""

    module_name = ""

    def _getobj(self) -> ModuleType:
        try:
            return importlib.import_module(self.module_name)
        except Exception as error:
            raise self.CollectError(
                f"scenario module {self.module_name} cannot be imported:\n{traceback.format_exc(limit=-5)}"
            ) from error

    def classnamefilter(self, name: str) -> bool:
        """Whether a class of this name holds checks."""
        return name.startswith("Test")

    def funcnamefilter(self, name: str) -> bool:
        """Whether a function of this name is a test."""
        return name.startswith("test")


class ClassCollector(pytest.Class):
    """A scenario class of a scenario package."""

    classnamefilter = ModuleCollector.classnamefilter
    funcnamefilter = ModuleCollector.funcnamefilter
