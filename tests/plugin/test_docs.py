"""The reference of options and results, held to the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from drainproof.plugin import hookspecs
from drainproof.plugin.options import OPTIONS
from drainproof.plugin.outcomes import KNOWN, STATUS
from drainproof_reports import results_json

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def table_keys(text: str) -> set[str]:
    return {key for row in re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", text, re.MULTILINE) for key in row.split(", ")}


def test_every_option_letter_and_hook_is_described():
    text = (REFERENCE / "options.md").read_text()
    for option in OPTIONS:
        assert f"`{option.short}=" in text
        assert f"`{option.safe}`" in text
    for _, letter, word, _ in (*STATUS.values(), KNOWN):
        assert f"| `{letter}` | {word} |" in text
    for name in vars(hookspecs):
        assert not name.startswith("pytest_drainproof_") or f"`{name}`" in text


def test_every_key_of_the_results_is_described_and_no_other():
    text = (REFERENCE / "results.md").read_text()
    schema = json.loads(results_json.SCHEMA.read_text())
    keys = set(schema["properties"]) | set(schema["$defs"]["verdict"]["properties"])
    described = {key.strip("`") for key in table_keys(text.partition("## junit.xml")[0])}
    assert described == keys


def test_the_example_fits_the_schema():
    text = (REFERENCE / "results.md").read_text()
    example = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(json.loads(results_json.SCHEMA.read_text())).validate(example)
