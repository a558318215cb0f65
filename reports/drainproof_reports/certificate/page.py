"""What stands on the certificate, from the results alone: header, findings, grid, and the list of the experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drainproof.requirement import Requirement, catalogue
from drainproof.verdict import RED, Known, Outcome, Results, Verdict

from drainproof_reports import pods
from drainproof_reports.certificate import grid, words
from drainproof_reports.certificate.grid import Family, worst

IN_SECONDS = frozenset(
    {
        "grace_period",
        "settle_time",
        "first_delay",
        "longest_delay",
        "max_seconds",
        "recovery",
        "answer_within",
        "observe",
    }
)
"""Entries of the policy that are durations."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the run says of one requirement that does not simply hold."""

    requirement: Requirement
    outcome: Outcome
    says: str
    """The sentence of the first verdict."""
    where: str
    """The scenario of that verdict, in words."""
    target: str
    scenarios: int
    judged: int
    """In how many scenarios it came out so, and in how many it was judged at all."""
    known: tuple[Known, ...]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, as shown with its experiment."""

    place: str | None
    """Its id on the page, at the first verdict on the requirement in this scenario."""
    verdict: Verdict
    expects: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A scenario with its verdicts."""

    place: str
    title: str
    variant: str
    outcome: Outcome
    says: str
    judgements: tuple[Judgement, ...]
    evidence: str | None
    repeat: str
    open: bool
    """Whether it is unfolded: the first that shows a finding."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """The scenarios of one class."""

    id: str
    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything but what the evidence is read for."""

    results: Results
    name: str
    sentence: str
    imprint: tuple[str, ...]
    """The shortest answer to what was judged, when, and by which rules."""
    about: tuple[tuple[str, str], ...]
    tiles: tuple[tuple[Outcome | None, int, str], ...]
    findings: dict[str, tuple[Finding, ...]]
    """`broken`, `unsure` and `notes`."""
    families: tuple[Family, ...]
    chapters: tuple[Chapter, ...]
    promises: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str], ...]
    advice: pods.PodAdvice | None
    places: Mapping[tuple[str, str], str]

    @property
    def untested(self) -> tuple[Requirement, ...]:
        """Requirements of the catalogue that no scenario of this run judged."""
        return tuple(row.requirement for family in self.families for row in family.rows if row.outcome is None)


def compose(results: Results) -> Page:
    """The page of a run."""
    verdicts = results.verdicts
    requirements = _requirements(verdicts)
    places: dict[tuple[str, str], str] = {}
    for verdict in verdicts:
        places.setdefault((verdict.scenario, verdict.requirement), f"v{len(places) + 1}")
    by_requirement = {r.id: [v for v in verdicts if v.requirement == r.id] for r in requirements}
    outcomes = {id_: worst(v.verdict for v in found) for id_, found in by_requirement.items()}
    findings = {
        name: tuple(
            _finding(requirement, by_requirement[requirement.id], outcome, places)
            for requirement in requirements
            if (outcome := outcomes[requirement.id]) in wanted and outcome is not None
        )
        for name, wanted in (("broken", {"fail"}), ("unsure", {"inconclusive", "error"}), ("notes", {"note"}))
    }
    return Page(
        results=results,
        name=str(results.target.get("name") or "the target"),
        sentence=_sentence(results, outcomes),
        imprint=tuple(_imprint(results)),
        about=tuple(_about(results)),
        tiles=tuple(_tiles(outcomes)),
        findings=findings,
        families=grid.families(requirements, verdicts, places),
        chapters=tuple(_chapters(verdicts, places, {f.target for f in findings["broken"]})),
        promises=tuple(_promises(results)),
        packages=tuple(_packages(results)),
        advice=pods.advice(results),
        places=places,
    )


def _requirements(verdicts: Iterable[Verdict]) -> list[Requirement]:
    """Those of the catalogue in its order, and those that only this run knows: somebody's own scenarios."""
    found = dict(catalogue())
    for v in verdicts:
        if v.requirement not in found:
            found[v.requirement] = Requirement(
                id=v.requirement, title="", level=v.level, rule=v.rule, inconclusive="", source=""
            )
    return list(found.values())


def _finding(
    requirement: Requirement, verdicts: Sequence[Verdict], outcome: Outcome, places: Mapping[tuple[str, str], str]
) -> Finding:
    same = [v for v in verdicts if v.verdict == outcome]
    first = next((v for v in same if v.known is None), same[0])
    return Finding(
        requirement=requirement,
        outcome=outcome,
        says=words.sentence(first.summary),
        where=first.title,
        target=places[first.scenario, first.requirement],
        scenarios=len({v.scenario for v in same}),
        judged=len({v.scenario for v in verdicts}),
        known=tuple(dict.fromkeys(v.known for v in same if v.known is not None)),
    )


def _sentence(results: Results, outcomes: Mapping[str, Outcome | None]) -> str:
    judged = [outcome for outcome in outcomes.values() if outcome not in (None, "unsupported")]
    count = words.plural(len(judged), "requirement")
    broken, unsure = judged.count("fail"), judged.count("inconclusive") + judged.count("error")
    open_ends = [
        *([f"{unsure} could not be judged everywhere"] if unsure else []),
        *([f"{words.plural(results.deselected, 'check')} left out by the user"] if results.deselected else []),
        *(["the run was cut short"] if results.aborted else []),
    ]
    if not judged:
        return "Nothing could be judged in this run."
    if broken:
        text = f"It breaks {broken} of the {count} that were judged"
    elif notes := judged.count("note"):
        text = f"It breaks none of the {count} that were judged; {notes} of them, a SHOULD, did not hold everywhere"
    else:
        text = f"It keeps all of the {count} that were judged" if not unsure else f"None of {count} was seen broken"
    return f"{text}{'; ' if open_ends else ''}{', '.join(open_ends)}."


def _tiles(outcomes: Mapping[str, Outcome | None]) -> Iterable[tuple[Outcome | None, int, str]]:
    found = list(outcomes.values())
    yield "pass", found.count("pass"), "hold"
    yield "fail", found.count("fail"), "broken"
    yield "note", found.count("note"), "with a note"
    yield "inconclusive", found.count("inconclusive") + found.count("error"), "not decided"
    yield "unsupported", found.count("unsupported"), "do not apply"
    yield None, found.count(None), "not tested"


def _imprint(results: Results) -> Iterable[str]:
    manifest = _mapping(results.target.get("manifest"))
    yield results.started.replace("T", " ")[:16]
    if results.specification:
        yield f"specification {results.specification}"
    yield f"drainproof {results.versions.get('drainproof', '')}"
    yield f"launched as {manifest.get('launch') or 'process'}"
    for name in ("version", "digest"):
        if found := results.target.get(name):
            yield words.value(found)


def _about(results: Results) -> Iterable[tuple[str, str]]:
    target, versions = results.target, results.versions
    manifest = _mapping(target.get("manifest"))
    inside = _mapping(versions.get("target"))
    launch = str(manifest.get("launch") or "process")
    image = _mapping(manifest.get("container")).get("image") if launch == "container" else None
    command = manifest.get("command")
    digest = target.get("digest")
    told = [
        ("Target version", target.get("version")),
        ("Target digest", digest if isinstance(digest, str) or digest is None else words.value(digest)),
        ("Launched as", f"{launch}{f' from {image}' if image else ''}"),
        ("Command", " ".join(map(str, command)) if isinstance(command, list) else None),
        ("Its interpreter", " ".join(str(inside[k]) for k in ("implementation", "python") if inside.get(k))),
        ("Environment", versions.get("platform")),
        ("Date", f"{results.started.replace('T', ' ')} ({words.duration(results.seconds)})"),
        ("Specification", results.specification),
        ("Judged by", f"drainproof {versions.get('drainproof', '')} on Python {versions.get('python', '')}"),
        ("Load from", f"Locust {versions['locust']}" if versions.get("locust") else None),
        ("Run by", results.command),
        ("Left out", f"{words.plural(results.deselected, 'check')} deselected" if results.deselected else None),
        ("Evidence", f"{results.bundle.folder}, manifest sha256:{results.bundle.digests}" if results.bundle else None),
    ]
    return ((name, str(content)) for name, content in told if content)


def _promises(results: Results) -> Iterable[tuple[str, str]]:
    """The policy, nested entries by their path."""

    def walk(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[tuple[str, str]]:
        for name, content in values.items():
            if isinstance(content, Mapping) and content:
                yield from walk(content, (*path, name))
            else:
                unit = " s" if name in IN_SECONDS and content is not None else ""
                yield words.sentence(": ".join((*path, name)).replace("_", " ")), words.value(content) + unit

    return walk(_mapping(_mapping(results.target.get("manifest")).get("policy")), ())


def _packages(results: Results) -> Iterable[tuple[str, str]]:
    packages = _mapping(_mapping(results.versions.get("target")).get("packages"))
    return ((str(name), str(version)) for name, version in packages.items())


def _chapters(
    verdicts: Sequence[Verdict], places: Mapping[tuple[str, str], str], shown_first: set[str]
) -> Iterable[Chapter]:
    by_class: dict[str, dict[str, list[Verdict]]] = {}
    for verdict in verdicts:
        by_class.setdefault(grid.class_of(verdict.scenario), {}).setdefault(verdict.scenario, []).append(verdict)
    number = 0
    for class_, scenarios in by_class.items():
        items = []
        for scenario, found in scenarios.items():
            number += 1
            items.append(_item(f"x{number}", scenario, found, places, shown_first))
        yield Chapter(id=class_, title=words.scenario(class_), items=tuple(items))


def _item(
    place: str, scenario: str, verdicts: Sequence[Verdict], places: Mapping[tuple[str, str], str], first: set[str]
) -> Item:
    judgements = []
    seen: set[str] = set()
    for verdict in sorted(verdicts, key=lambda v: grid.WORST.index(v.verdict)):
        where = None if verdict.requirement in seen else places[scenario, verdict.requirement]
        seen.add(verdict.requirement)
        judgements.append(
            Judgement(
                place=where,
                verdict=verdict,
                expects=words.check(verdict.check),
                facts=tuple(words.fact(name, content) for name, content in verdict.facts.items()),
            )
        )
    outcome = worst(v.verdict for v in verdicts) or "error"
    decisive = [v for v in verdicts if v.verdict == outcome]
    ids = list(dict.fromkeys(v.requirement for v in decisive))
    says = f"{', '.join(ids)}" if outcome == "pass" else f"{', '.join(ids)}: {decisive[0].summary}"
    return Item(
        place=place,
        title=verdicts[0].title,
        variant=words.variant(grid.parameters_of(scenario)),
        outcome=outcome,
        says=says,
        judgements=tuple(judgements),
        evidence=next((v.evidence for v in verdicts if v.evidence), None),
        repeat=next((v.repeat for v in verdicts if v.repeat), ""),
        open=outcome in RED and any(j.place in first for j in judgements),
    )


def _mapping(content: object) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}
