"""Writes the reports of a run that is over, by the same hooks as the run itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from drainproof import installed
from drainproof.errors import UserError
from drainproof.plugin import folders, hookspecs
from drainproof.verdict import Results


def render(results: Results, folder: Path) -> list[str]:
    """Has each installed report written into the report folder `folder`; gives the names of the reports.

    Raises UserError where a run writes to the folder now, and where a report fails.
    """
    manager = pytest.PytestPluginManager()
    manager.add_hookspecs(hookspecs)
    plugins = installed.report_plugins()
    for name, plugin in plugins:
        manager.register(plugin, name)
    reports = folders.ReportFolder(folder, option="DIR")
    reports.prepare_again()
    try:
        manager.hook.pytest_drainproof_report(results=results, folder=folder)
    except OSError as error:
        raise UserError(f"the reports in {folder} cannot be written: {error.strerror or error}") from error
    except Exception as error:  # whatever a foreign report raises
        raise UserError(f"a report failed: {type(error).__name__}: {error}") from error
    finally:
        reports.release()
    return [name for name, plugin in plugins if hasattr(plugin, "pytest_drainproof_report")]
