"""The pytest plugin: what is loaded in every pytest run of an environment that has drainproof installed.

It registers options under names that nobody else uses, and its hooks; everything else is loaded by `activation` when a
run has a target or saved evidence. In any other run it only skips checks (functions marked with `requirement`), which
cannot run without a target.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from drainproof.plugin import hookspecs, options

REQUIREMENT = "drainproof_requirement"

FIXTURES = ("experiment", "target", "facts")
"""Fixtures that exist in a run with a target or saved evidence alone."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Registers the options under their safe names."""
    options.add_safe_names(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Registers the hooks always: a conftest that implements one is loaded in every run."""
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Registers the short names when all initial conftests have had the opportunity to take them."""
    result = yield
    if options.are_in_play(early_config, args):
        options.add_short_names(early_config, parser, args)
        options.leave_out_addopts(early_config, parser, args, lambda path: _in_scenarios(early_config, path))
    return result


def _in_scenarios(config: pytest.Config, argument: str) -> bool:
    from drainproof.errors import UserError  # noqa: PLC0415 - only in a run with a target
    from drainproof.plugin import packages  # noqa: PLC0415 - as above
    from drainproof.plugin.usage import usage_error  # noqa: PLC0415 - as above

    try:
        found = packages.scenario_packages(config)
    except UserError as error:
        raise usage_error(error) from error
    return packages.resolve(argument, packages=found, here=config.invocation_params.dir) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Activates the plugin in a run with a target or saved evidence."""
    if config.option.help:
        return
    wanted = options.wanted(config)
    if wanted is None:
        config.pluginmanager.register(WithoutTarget(), "drainproof-without-target")
        return
    from drainproof.plugin import activation  # noqa: PLC0415 - only in a run with a target

    activation.activate(config, wanted)


class WithoutTarget:
    """What happens to checks, and to tests that use our fixtures, in a run without a target."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Skips them: their fixtures do not exist."""
        for item in items:
            if hasattr(getattr(item, "function", None), REQUIREMENT):
                item.add_marker(pytest.mark.skip(reason="a check of drainproof: needs --target=FOLDER"))
                continue
            missing = _missing_fixture(item)
            if missing is not None and _imports_drainproof(item):
                reason = f"uses drainproof's fixture {missing!r}: needs --target=FOLDER"
                item.add_marker(pytest.mark.skip(reason=reason))


def _missing_fixture(item: pytest.Item) -> str | None:
    """The first fixture of ours that the test uses and nobody else provides."""
    known = {
        *getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", ()),
        *getattr(getattr(item, "callspec", None), "params", ()),
    }
    wanted = (name for name in FIXTURES if name in getattr(item, "fixturenames", ()))
    return next((name for name in wanted if name not in known), None)


def _imports_drainproof(item: pytest.Item) -> bool:
    """Whether the test's module does: in one that does not, a missing fixture of such a name is somebody's mistake."""
    values = vars(getattr(item, "module", None) or object).values()
    names = (getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in values)
    return any(str(name).partition(".")[0] == "drainproof" for name in names)
