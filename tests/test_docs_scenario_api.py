"""docs/reference/scenario-api.md and the anchors between pages must agree with the code and with each other."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from drainproof import scenario
from drainproof.evidence import Evidence, RequestSet
from drainproof.evidence.output import Output
from drainproof.experiment import Experiment
from drainproof.load.ledger import RequestRecord
from drainproof.probes.history import History
from drainproof.target.description import Policy, Target

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
API = (ROOT / "docs" / "reference" / "scenario-api.md").read_text(encoding="utf-8")
CODE = " ".join(re.findall(r"```python\n.*?```|`[^`\n]+`", API, re.DOTALL))
"""Everything on the page that is set as code."""

ONLY_FOR_ANNOTATIONS = {"Fault", "Injection", "Observer", "Policy", "Recipient"}
FUNCTIONS = [
    value for name in scenario.__all__ if inspect.isfunction(value := getattr(scenario, name)) and name != "requirement"
]


def _signature(function: Callable[..., object]) -> str:
    """As the page writes it: without annotations, and with names for the requests that stand for others."""
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name != "self":
            parameters.append(parameter.replace(annotation=inspect.Parameter.empty))
    text = str(inspect.Signature(parameters)).replace("'", '"')
    return re.sub(r'"@(\w+)"', lambda found: found[1].upper(), text)


def test_every_public_name_is_listed() -> None:
    missing = [n for n in scenario.__all__ if n not in ONLY_FOR_ANNOTATIONS and not re.search(rf"\b{n}\b", CODE)]
    assert not missing


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_signatures_are_those_of_the_code(function: Callable[..., object]) -> None:
    assert f"`{function.__name__}{_signature(function)}`" in API


def test_the_signature_of_run_is_that_of_the_code() -> None:
    assert f"experiment.run{_signature(Experiment.run)} -> Evidence" in API
    assert f"`require{_signature(Evidence.require)}`" in API


@pytest.mark.parametrize("described", [Evidence, RequestSet, History, Output, RequestRecord, Target, Policy])
def test_public_members_are_listed(described: type) -> None:
    internal = {
        Evidence: {"cut", "starvation"},
        Target: {
            "arguments",
            "command",
            "command_line",
            "environment",
            "environment_for",
            "from_json",
            "manifest",
            "to_json",
        }
        | {"working_directory"},
        History: {"keys", "listener_losses"},
        RequestRecord: {"lag"},
    }.get(described, set())
    members = {name for name in vars(described) if not name.startswith("_")}
    if dataclasses.is_dataclass(described):
        members |= {field.name for field in dataclasses.fields(described)}
    missing = sorted(name for name in members - internal if not re.search(rf"\b{name}\b", CODE))
    assert not missing


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_exist(page: Path) -> None:
    broken = []
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        to = page if not link else (page.parent / link).resolve()
        if "://" in link or not to.exists():
            continue
        headings = re.findall(r"^#+ (.*)$", to.read_text(encoding="utf-8"), re.MULTILINE)
        if anchor not in map(_anchor, headings):
            broken.append(f"{link}#{anchor}")
    assert not broken
