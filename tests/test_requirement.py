"""The catalogue of requirements is complete, well formed, and helps whoever mistypes an id."""

from __future__ import annotations

import re
from itertools import groupby

import pytest
from drainproof.errors import UserError
from drainproof.requirement import SPECIFICATION, catalogue, get, history, rules_digest

SIZES = {"START": 7, "DRAIN": 15, "EXIT": 6, "EXC": 7, "WIN": 3, "WORK": 9, "CONT": 5, "ROLL": 1, "CHAOS": 1}
"""Ids are never used again and never renumbered, so each family counts up from 1 without a gap."""

NOTES = {"START-7", "DRAIN-5", "DRAIN-6", "DRAIN-15", "WIN-2", "WORK-6", "WORK-7", "CONT-4", "CONT-5"}


def test_every_family_is_there_in_order() -> None:
    assert list(catalogue()) == [f"{family}-{n}" for family, size in SIZES.items() for n in range(1, size + 1)]
    assert [family for family, _ in groupby(catalogue().values(), key=lambda each: each.family)] == list(SIZES)


def test_the_levels_are_those_of_the_specification() -> None:
    assert {each.id for each in catalogue().values() if each.level == "SHOULD"} == NOTES


@pytest.mark.parametrize("requirement_id", catalogue())
def test_an_entry_reads_well(requirement_id: str) -> None:
    requirement = get(requirement_id)
    assert requirement.id == requirement_id
    assert 3 <= len(requirement.title.split()) <= 7
    assert not requirement.title.endswith(".")
    assert requirement.rule.endswith((".", ")"))
    assert len(requirement.source) > 5
    for text in (requirement.title, requirement.rule, requirement.source):
        assert text == " ".join(text.split())
        assert text.count("`") % 2 == 0
    mentioned = re.findall(r"\b(?:START|DRAIN|EXIT|EXC|WIN|WORK|CONT)-\d+\b", requirement.rule + requirement.source)
    assert all(get(each) for each in mentioned)


def test_titles_are_distinct() -> None:
    titles = [each.title for each in catalogue().values()]
    assert len(set(titles)) == len(titles)


def test_the_catalogue_is_read_once_and_cannot_be_changed() -> None:
    assert catalogue() is catalogue()
    with pytest.raises(TypeError):
        catalogue()["DRAIN-1"] = get("DRAIN-2")  # type: ignore[index]


@pytest.mark.parametrize(("typed", "meant"), [("DRAIN1", "DRAIN-1"), ("drain-10", "DRAIN-10"), ("EXT-3", "EXIT-3")])
def test_an_unknown_id_names_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UserError, match=f'there is no requirement "{typed}". Did you mean "{meant}"?'):
        get(typed)


def test_an_unknown_id_that_is_near_nothing() -> None:
    with pytest.raises(UserError) as caught:
        get("nonsense")
    assert str(caught.value) == 'there is no requirement "nonsense".'


def test_the_rules_are_those_of_the_newest_version() -> None:
    """Whoever changes a rule or a level, or adds a requirement, adds a version to specification.toml."""
    newest = history()[0]
    assert newest.version == SPECIFICATION
    assert rules_digest() == newest.rules, f"the rules are not those of version {newest.version} any more"


def test_versions_are_ordered_by_the_calendar() -> None:
    numbers = [tuple(map(int, each.version.split("."))) for each in history()]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(re.fullmatch(r"20\d\d\.(0[1-9]|1[0-2])(\.[2-9]\d*)?", each.version) for each in history())
    assert len({each.rules for each in history()}) == len(history()), "a version without a change"
    assert all(each.changes.endswith(".") for each in history())


@pytest.mark.parametrize("requirement_id", catalogue())
def test_what_makes_it_inconclusive_is_said(requirement_id: str) -> None:
    text = get(requirement_id).inconclusive
    assert text.endswith(".")
    assert text[0].isupper()
    assert len(text) <= 400
    for mentioned in re.findall(r"\b(?:START|DRAIN|EXIT|EXC|WIN|WORK|CONT)-\d+\b", text):
        assert get(mentioned)
