"""The catalogue of requirements is complete, well formed, and helps whoever mistypes an id."""

from __future__ import annotations

import re
from itertools import groupby

import pytest
from drainproof.errors import UserError
from drainproof.requirement import catalogue, get

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
