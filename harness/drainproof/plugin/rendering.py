"""Writes the reports of a run that is over, by the same hooks as the run itself, or says what would be in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drainproof import installed
from drainproof.errors import UserError
from drainproof.plugin import folders, hookspecs
from drainproof.verdict import Results


def render(results: Results, folder: Path, *, force: bool = False) -> list[str]:
    """Has each installed report written into the report folder `folder`; gives the names of the reports.

    Raises UserError where a run writes to the folder now, where files in it are somebody else's (unless `force`), and
    where a report fails.
    """
    manager, plugins = _reports()
    reports = folders.ReportFolder(folder, option="DIR")
    reports.prepare_again(force=force)
    try:
        manager.hook.pytest_drainproof_report(results=results, folder=folder)
    except OSError as error:
        raise UserError(f"the reports in {folder} cannot be written: {error.strerror or error}") from error
    except Exception as error:  # whatever a foreign report raises
        raise UserError(f"a report failed: {type(error).__name__}: {error}") from error
    finally:
        reports.release()
    return [name for name, plugin in plugins if hasattr(plugin, "pytest_drainproof_report")]


def derived(results: Results, results_json: bytes) -> Mapping[str, Any]:
    """What has to be in the JSON files of reports, by name; see `pytest_drainproof_derived`.

    Raises UserError where a report fails.
    """
    manager, _ = _reports()
    try:
        told = manager.hook.pytest_drainproof_derived(results=results, results_json=results_json)
        return {name: content for each in told for name, content in each.items()}
    except Exception as error:  # whatever a foreign report raises
        raise UserError(f"a report failed: {type(error).__name__}: {error}") from error


def _reports() -> tuple[pytest.PytestPluginManager, list[tuple[str, object]]]:
    manager = pytest.PytestPluginManager()
    manager.add_hookspecs(hookspecs)
    plugins = installed.report_plugins()
    for name, plugin in plugins:
        manager.register(plugin, name)
    return manager, plugins
