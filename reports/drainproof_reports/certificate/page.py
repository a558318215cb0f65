"""What stands on the certificate, from the results alone: header, findings, grid, and the list of the experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drainproof.requirement import Requirement, catalogue
from drainproof.text import shortened
from drainproof.verdict import RED, Known, Outcome, Results, Verdict

from drainproof_reports import pods, repetitions
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


NO_REQUIREMENT = "-"
"""What stands for the requirement where a worker of pytest-xdist died: nothing is known of the check but its name."""

TITLE, COMMAND, RULE = 200, 1000, 2000
"""Characters of these that are shown."""

FLIPS = 40
"""Scenarios that flip which are listed."""


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """A declaration that a failure is known, and for how much of the finding it was made."""

    known: Known
    scope: str
    """`1 of 2 scenarios`; empty where it is for all of it."""


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
    extent: str
    """In how many scenarios (and runs) it came out so, and in how many it was judged at all."""
    known: tuple[Acknowledged, ...]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, as shown with its experiment."""

    place: str | None
    """Its id on the page, at the first verdict on the requirement in this scenario."""
    verdict: Verdict
    """Where the scenario was run several times: of the run that came out worst."""
    runs: str
    """`2 of 20 runs`: how many came out so; empty where it was run once."""
    expects: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A scenario with its verdicts, all its runs together."""

    place: str
    title: str
    variant: str
    outcome: Outcome
    says: str
    judgements: tuple[Judgement, ...]
    evidence: str | None
    """Of the run that came out worst."""
    others: tuple[str, ...]
    """The evidence of its other runs."""
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
class Repeats:
    """What repeating the scenarios showed."""

    method: str
    flips: tuple[tuple[str, str], ...]
    """Requirement, and what is to be said of it."""
    flips_left_out: int
    bounds: tuple[tuple[str, str], ...]


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
    repeats: Repeats | None
    places: Mapping[tuple[str, str], str]
    """Situation and requirement → id on the page."""

    @property
    def untested(self) -> tuple[Requirement, ...]:
        """Requirements of the catalogue that no scenario of this run judged."""
        return tuple(row.requirement for family in self.families for row in family.rows if row.outcome is None)


def compose(results: Results) -> Page:
    """The page of a run."""
    verdicts = results.verdicts
    judged = [verdict for verdict in verdicts if verdict.requirement != NO_REQUIREMENT]
    requirements = _requirements(judged)
    places: dict[tuple[str, str], str] = {}
    by_requirement: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        places.setdefault((verdict.situation, verdict.requirement), f"v{len(places) + 1}")
        by_requirement.setdefault(verdict.requirement, []).append(verdict)
    said = {r.id: frozenset(v.verdict for v in by_requirement.get(r.id, ())) for r in requirements}
    told = [*requirements, *_requirements(by_requirement.get(NO_REQUIREMENT, ()), known={})]
    findings = {
        name: tuple(
            _finding(requirement, by_requirement[requirement.id], wanted, places)
            for requirement in told
            if not wanted.isdisjoint(v.verdict for v in by_requirement.get(requirement.id, ()))
        )
        for name, wanted in KINDS.items()
    }
    return Page(
        results=results,
        name=shortened(str(results.target.get("name") or "the target"), TITLE),
        sentence=_sentence(results, said),
        imprint=tuple(_imprint(results)),
        about=tuple(_about(results)),
        tiles=tuple(_tiles(said)),
        findings=findings,
        families=grid.families(requirements, judged, places),
        chapters=tuple(_chapters(verdicts, places, {f.target for f in findings["broken"]})),
        promises=tuple(_promises(results)),
        packages=tuple(_packages(results)),
        advice=pods.advice(results),
        repeats=_repeats(results),
        places=places,
    )


KINDS: Mapping[str, frozenset[Outcome]] = {
    "broken": frozenset({"fail"}),
    "unsure": frozenset({"inconclusive", "error"}),
    "notes": frozenset({"note"}),
}
"""The lists of findings, by what puts a requirement on them. It may be on several: broken here, not decided there."""


def _requirements(verdicts: Iterable[Verdict], known: Mapping[str, Requirement] | None = None) -> list[Requirement]:
    """Those of the catalogue in its order, and those that only this run knows: somebody's own scenarios."""
    found = dict(catalogue() if known is None else known)
    for v in verdicts:
        if v.requirement not in found:
            rule = shortened(v.rule, RULE)
            found[v.requirement] = Requirement(
                id=v.requirement, title="", level=v.level, rule=rule, inconclusive="", source=""
            )
    return list(found.values())


def _finding(
    requirement: Requirement,
    verdicts: Sequence[Verdict],
    wanted: frozenset[Outcome],
    places: Mapping[tuple[str, str], str],
) -> Finding:
    outcome = worst(v.verdict for v in verdicts if v.verdict in wanted) or "error"
    same = [v for v in verdicts if v.verdict in wanted]
    alike = [v for v in same if v.verdict == outcome]
    first = next((v for v in alike if v.known is None), alike[0])
    declared: dict[Known, list[Verdict]] = {}
    for verdict in same:
        if verdict.known is not None:
            declared.setdefault(verdict.known, []).append(verdict)
    return Finding(
        requirement=requirement,
        outcome=outcome,
        says=words.summary(first.summary),
        where=shortened(first.title, TITLE),
        target=places[first.situation, first.requirement],
        extent=_extent(same, verdicts),
        known=tuple(
            Acknowledged(known=known, scope="" if len(of) == len(same) else _extent(of, same))
            for known, of in declared.items()
        ),
    )


def _extent(some: Sequence[Verdict], everything: Sequence[Verdict]) -> str:
    """`1 of 2 scenarios`, and `2 of 40 runs` where they were repeated."""
    scenarios, of = (len({v.situation for v in verdicts}) for verdicts in (some, everything))
    runs, of_runs = (len({v.scenario for v in verdicts}) for verdicts in (some, everything))
    text = f"{scenarios} of {words.plural(of, 'scenario')}"
    if of_runs > of:
        return f"{text}, {runs} of {of_runs} runs"
    return text


def _sentence(results: Results, said: Mapping[str, frozenset[Outcome]]) -> str:
    judged = [outcomes for outcomes in said.values() if outcomes - {"unsupported"}]
    broken, unsure, notes = (
        sum(not KINDS[name].isdisjoint(o) for o in judged) for name in ("broken", "unsure", "notes")
    )
    crashed = sum(verdict.requirement == NO_REQUIREMENT for verdict in results.verdicts)
    open_ends = [
        *([f"{unsure} could not be judged everywhere"] if unsure else []),
        *([f"{words.plural(crashed, 'check')} died with a worker of the run"] if crashed else []),
        *([f"{words.plural(results.deselected, 'check')} left out by the user"] if results.deselected else []),
        *(["the run was cut short"] if results.aborted else []),
    ]
    one = len(judged) == 1
    of_all = "the one requirement that was judged" if one else f"the {len(judged)} requirements that were judged"
    if not judged:
        return "Nothing could be judged in this run."
    if broken:
        text = f"It breaks {of_all if one else f'{broken} of {of_all}'}"
    elif notes:
        text = f"It does not break {of_all}; it is a SHOULD, and did not hold everywhere"
        if not one:
            text = f"It breaks none of {of_all}; {notes} of them, a SHOULD, did not hold everywhere"
    elif unsure or crashed:
        text = (
            "The one requirement was not seen broken" if one else f"None of {len(judged)} requirements was seen broken"
        )
    else:
        text = f"It keeps {of_all if one else f'all of {of_all}'}"
    return f"{text}{'; ' if open_ends else ''}{', '.join(open_ends)}."


def _tiles(said: Mapping[str, frozenset[Outcome]]) -> Iterable[tuple[Outcome | None, int, str]]:
    outcomes = [worst(found) for found in said.values()]
    yield "pass", outcomes.count("pass"), "hold"
    yield "fail", outcomes.count("fail"), "broken"
    yield "note", sum("note" in found for found in said.values()), "with a note"
    yield "inconclusive", sum(not KINDS["unsure"].isdisjoint(found) for found in said.values()), "not decided"
    yield "unsupported", outcomes.count("unsupported"), "do not apply"
    yield None, outcomes.count(None), "not tested"


def _repeats(results: Results) -> Repeats | None:
    found = repetitions.repetitions(results)
    if found is None:
        return None
    flips = [
        (each.requirement, f"held in {each.held} of {each.runs.of} runs of {shortened(each.title or '', TITLE)}")
        for each in found.scenarios
        if each.flipped
    ]
    return Repeats(
        method=f"Each scenario was run {found.repeat} times. Upper bounds at {100 * repetitions.CONFIDENCE:g} % "
        f"({repetitions.METHOD}).",
        flips=tuple(flips[:FLIPS]),
        flips_left_out=max(len(flips) - FLIPS, 0),
        bounds=tuple((each.requirement, repetitions.sentence(each)) for each in found.requirements),
    )


def moment(text: str) -> str:
    """A moment in ISO 8601 as people read it, with its offset; any other text as it is."""
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return shortened(text, 40)
    return f"{then:%Y-%m-%d %H:%M} {then.tzname() or ''}".strip()


def _imprint(results: Results) -> Iterable[str]:
    manifest = _mapping(results.target.get("manifest"))
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
        ("Date", f"{shortened(results.started.replace('T', ' '), 40)} ({words.duration(results.seconds)})"),
        ("Specification", results.specification),
        ("Judged by", f"drainproof {versions.get('drainproof', '')} on Python {versions.get('python', '')}"),
        ("Load from", f"Locust {versions['locust']}" if versions.get("locust") else None),
        ("Run by", shortened(results.command, COMMAND)),
        ("Left out", f"{words.plural(results.deselected, 'check')} deselected" if results.deselected else None),
        ("Evidence", f"{results.bundle.folder}, manifest sha256:{results.bundle.digests}" if results.bundle else None),
    ]
    return ((name, shortened(str(content), COMMAND)) for name, content in told if content)


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
        situation = verdict.situation
        by_class.setdefault(grid.class_of(situation), {}).setdefault(situation, []).append(verdict)
    number = 0
    for class_, situations in by_class.items():
        items = []
        for situation, found in situations.items():
            number += 1
            items.append(_item(f"x{number}", situation, found, places, shown_first))
        title = shortened(words.scenario(class_), TITLE)
        yield Chapter(id=shortened(class_, TITLE), title=title, items=tuple(items))


def _item(
    place: str, situation: str, verdicts: Sequence[Verdict], places: Mapping[tuple[str, str], str], first: set[str]
) -> Item:
    judgements = []
    seen: set[str] = set()
    for runs in sorted(_by_check(verdicts), key=lambda same: grid.WORST.index(_worst(same).verdict)):
        verdict = _worst(runs)
        where = None if verdict.requirement in seen else places[situation, verdict.requirement]
        seen.add(verdict.requirement)
        alike = sum(v.verdict == verdict.verdict for v in runs)
        judgements.append(
            Judgement(
                place=where,
                verdict=verdict,
                runs=f"{alike} of {len(runs)} runs" if verdict.repetition else "",
                expects=shortened(words.check(verdict.check), TITLE),
                facts=tuple(words.fact(name, content) for name, content in list(verdict.facts.items())[: words.FACTS]),
            )
        )
    decides = judgements[0].verdict
    ids = ", ".join(dict.fromkeys(j.verdict.requirement for j in judgements if j.verdict.verdict == decides.verdict))
    of_it = [decides, *(v for v in verdicts if v.scenario == decides.scenario)]
    evidence = next((v.evidence for v in of_it if v.evidence), None)
    title = decides.title.removesuffix(f", run {decides.repetition}") if decides.repetition else decides.title
    return Item(
        place=place,
        title=shortened(title, TITLE),
        variant=shortened(words.variant(grid.parameters_of(situation)), grid.NAME),
        outcome=decides.verdict,
        says=shortened(ids if decides.verdict == "pass" else f"{ids}: {decides.summary}", words.SUMMARY),
        judgements=tuple(judgements),
        evidence=evidence,
        others=tuple(dict.fromkeys(v.evidence for v in verdicts if v.evidence and v.evidence != evidence)),
        repeat=shortened(next((v.repeat for v in of_it if v.repeat), ""), COMMAND),
        open=decides.verdict in RED and any(j.place in first for j in judgements),
    )


def _by_check(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """The runs of each check together."""
    found: dict[tuple[str, str, int], list[Verdict]] = {}
    for index, verdict in enumerate(verdicts):
        alone = 0 if verdict.repetition else index + 1
        found.setdefault((verdict.requirement, verdict.check, alone), []).append(verdict)
    return list(found.values())


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return min(verdicts, key=lambda verdict: grid.WORST.index(verdict.verdict))


def _mapping(content: object) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}
