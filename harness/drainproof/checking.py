"""Is a report what its evidence says, and is the evidence what the run left?

Three questions, each with an answer of its own, so that a reader learns all that is wrong and not just the first of it:

1. Does results.json agree with itself (counts, the verdict on the whole)?
2. Is each file of the evidence the one that the run left? The manifest of digests says.
3. Does the evidence, judged again, come to the same verdicts? That is asked of pytest, in a process of its own, by the
   very command that a user would give: there is no second way to judge.

The third question finds what the second cannot: somebody who changes a ledger and then writes new digests has a
consistent bundle, but its verdicts are other ones. Whoever changes evidence, digests and verdicts alike, and keeps them
consistent, is found by a signature alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import drainproof
from drainproof import installed, saved
from drainproof.errors import UserError
from drainproof.evidence import digests
from drainproof.report_names import SESSION
from drainproof.saved import DamagedResults, Saved
from drainproof.verdict import OUTCOMES, Results, Verdict

Kind = Literal["results", "incomplete", "tampered", "not-reproduced", "not-judged"]
"""`results`: results.json is damaged or contradicts itself · `incomplete`: the run or its evidence is · `tampered`: a
file is not what the run left · `not-reproduced`: judged again, a verdict is another one · `not-judged`: it could not be
judged again."""

INCOMPLETE = ("manifest-missing", "file-missing")

FIELDS = ("verdict", "requirement", "level", "rule", "title", "summary", "details")
"""What must be the same, besides the facts. How long it took and how to repeat it are told of that run alone."""

STATEMENT = "statement.json"
"""The in-toto Statement about the target, where a report has written one."""

LENGTH = 160
"""Characters of a value that are shown."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    text: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a check comes to."""

    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()
    verdicts: int = 0
    """How many verdicts results.json has."""

    @property
    def reproduced(self) -> bool:
        """Whether everything is as it should be."""
        return not self.findings

    @property
    def summary(self) -> str:
        """One sentence."""
        if self.reproduced:
            return f"reproduced: each verdict ({self.verdicts}), from evidence that is unchanged"
        return f"not reproduced: {len(self.findings)} finding{'s' if len(self.findings) > 1 else ''}"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "reproduced": self.reproduced,
            "verdicts": self.verdicts,
            "findings": [asdict(finding) for finding in self.findings],
            "remarks": list(self.remarks),
        }


def check(folder: Path, *, own: Sequence[Path] = ()) -> Outcome:
    """Checks the report folder `folder`. `own` are test files with scenarios that no installed package has.

    Raises UserError where there is nothing to check.
    """
    try:
        found = saved.read(folder)
    except DamagedResults as error:
        return Outcome(findings=(Finding(kind="results", text=str(error)),))
    return Outcome(
        findings=tuple(_findings(found, folder, own)),
        remarks=_remarks(found.results),
        verdicts=len(found.results.verdicts),
    )


def _findings(found: Saved, folder: Path, own: Sequence[Path]) -> Iterator[Finding]:
    results = found.results
    for text in (*_contradictions(found), *_statement(found)):
        yield Finding(kind="results", text=text)
    if results.aborted:
        yield Finding(kind="incomplete", text="the run did not reach its end: what is missing was not judged")
    if results.bundle is None:
        text = "the results name no evidence: the run did not reach its end, or this was taken out of them"
        yield Finding(kind="incomplete", text=text)
        return
    evidence = found.folder / results.bundle.folder
    if not evidence.is_dir():
        text = f"the evidence {results.bundle.folder} is not there: keep it with the results"
        yield Finding(kind="incomplete", text=text)
        return
    if not evidence.resolve().is_relative_to(found.folder.resolve()):
        text = f"the evidence {results.bundle.folder} is outside of {folder}: check the folder that it is in"
        yield Finding(kind="tampered", text=text)
        return
    problems = digests.verify(evidence, results=results)
    for problem in problems:
        yield Finding(kind="incomplete" if problem.kind in INCOMPLETE else "tampered", text=problem.text)
    if any(problem.kind == "not-a-file" for problem in problems):
        text = "not judged again: whatever is no plain file could lead out of the bundle"
        yield Finding(kind="not-judged", text=text)
        return
    yield from _judged_again(found, evidence, own)


def _contradictions(found: Saved) -> Iterator[str]:
    """Where results.json says of its verdicts what is not true of them."""
    results = found.results
    counted = Counter(verdict.verdict for verdict in results.verdicts)
    derived = {
        "red": results.red,
        "overall": results.overall,
        "counts": {outcome: counted[outcome] for outcome in OUTCOMES},
    }
    for name, value in derived.items():
        if found.content.get(name, value) != value:
            yield f"results.json says {name} = {found.content[name]!r}, and by its own verdicts it is {value!r}"
    for (scenario, check_), number in Counter((v.scenario, v.check) for v in results.verdicts).items():
        if number > 1:
            yield f"results.json has {number} verdicts of {scenario} {check_}"


def _statement(found: Saved) -> Iterator[str]:
    """Where the in-toto Statement beside results.json is about another one. Its signature is for others to verify."""
    file = found.folder / STATEMENT
    if not file.exists():
        return
    try:
        described = json.loads(file.read_text(encoding="utf-8"))["predicate"]["configuration"]
        [named] = [each["digest"]["sha256"] for each in described if each["name"] == saved.FILE]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{STATEMENT} names no {saved.FILE}: {type(error).__name__}: {error}"
        return
    if named != hashlib.sha256((found.folder / saved.FILE).read_bytes()).hexdigest():
        yield f"{STATEMENT} is about another {saved.FILE}: its SHA-256 is not the one that the statement names"


def _remarks(results: Results) -> tuple[str, ...]:
    version = str(results.versions.get("drainproof"))
    if version == drainproof.__version__:
        return ()
    return (f"the run was made with drainproof {version}, this is {drainproof.__version__}: rules may differ",)


def _judged_again(found: Saved, evidence: Path, own: Sequence[Path]) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="drainproof-check-") as temporary:
        try:
            again = _judge(evidence, Path(temporary), own)
        except UserError as error:
            yield Finding(kind="not-judged", text=str(error))
            return
        for text in _missing(found.results, again.results, evidence):
            yield Finding(kind="not-judged", text=text)
        for text in _differences(found, again):
            yield Finding(kind="not-reproduced", text=text)
        yield from _unjudged(found.results, again.results)


def _judge(evidence: Path, folder: Path, own: Sequence[Path]) -> Saved:
    """What pytest says of the evidence. Raises UserError, with the last line of its output, where it says nothing.

    Nothing of the user's surroundings may have a part in it: no conftest, no configuration file, no options from the
    environment, no cache. Files of the user's own scenarios are collected where they are, with what belongs to them.
    """
    reports = folder / "report"
    command = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--no-summary"),
        f"--drainproof-evidence={evidence.resolve()}",
        f"--drainproof-report-dir={reports}",
    ]
    if own:
        # packages by name, which is no path: paths decide where pytest has its root, and that is part of their ids
        command += [*(package.nodeid for package in installed.scenario_packages()), *map(str, own)]
    unwanted = ("PYTEST_ADDOPTS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTHONOPTIMIZE")
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        command,
        cwd=Path.cwd() if own else folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="backslashreplace",
    )
    try:
        again = saved.read(reports)
    except UserError as error:
        said = [line for line in done.stdout.splitlines() if line.strip()]
        told = next((line for line in reversed(said) if "error" in line.lower()), said[-1] if said else "")
        raise UserError(
            f"the evidence cannot be judged again (pytest: exit status {done.returncode}): {told}"
        ) from error
    if again.results.aborted:
        raise UserError(f"judging again did not reach its end (pytest: exit status {done.returncode})")
    return again


def _missing(old: Results, again: Results, evidence: Path) -> Iterator[str]:
    """Why scenarios of the run are not judged again: the package that they come from is not installed."""
    known = {verdict.scenario for verdict in again.verdicts}
    gone = list(dict.fromkeys(v.scenario for v in old.verdicts if v.scenario not in known))
    if not gone:
        return
    here = {package.module for package in installed.scenario_packages()}
    for package in _packages(evidence):
        module = str(package.get("module", ""))
        theirs = [scenario for scenario in gone if scenario.startswith(module + ".")]
        if module not in here and theirs:
            source = package.get("distribution") or f"entry point {package.get('name')}"
            yield f"the scenario package {module} ({source}) is not installed: {len(theirs)} scenarios are of it"
            gone = [scenario for scenario in gone if scenario not in theirs]
    for scenario in gone:
        yield f"{scenario} is no scenario of the packages here ({', '.join(sorted(here))}); name the file it is in"


def _packages(evidence: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads((evidence / SESSION).read_text(encoding="utf-8"))
        return [package for package in content.get("packages", ()) if isinstance(package, dict)]
    except (OSError, ValueError, AttributeError):
        return []  # whatever is wrong with it has been told


def _differences(old: Saved, again: Saved) -> Iterator[str]:
    """What results.json says, and the evidence does not."""
    for name in dict.fromkeys([*old.results.target, *again.results.target]):
        before, now = old.results.target.get(name), again.results.target.get(name)
        if _other(before, now):
            yield f"target.{name} is {_shown(before)} in results.json, and by the evidence {_shown(now)}"
    verdicts = {(v.scenario, v.check): v for v in again.results.verdicts}
    for verdict in old.results.verdicts:
        now = verdicts.get((verdict.scenario, verdict.check))
        if now is not None:
            yield from _of_verdict(verdict, now, old.folder, again.folder)
        else:
            yield f"{verdict.scenario} {verdict.check} is {verdict.verdict!r} in results.json, and is not judged again"


def _unjudged(old: Results, again: Results) -> Iterator[Finding]:
    """Checks that the run had selected, and that results.json says nothing of."""
    judged = {(v.scenario, v.check) for v in old.verdicts}
    missing = [verdict for verdict in again.verdicts if (verdict.scenario, verdict.check) not in judged]
    if old.aborted and missing:  # the rest of a run that was stopped: that it was not judged is all there is to say
        yield Finding(kind="incomplete", text=f"{len(missing)} checks that were selected were not judged")
        return
    for now in missing:
        text = f"{now.scenario} {now.check} is not in results.json, and by the evidence it is {now.verdict!r}"
        yield Finding(kind="not-reproduced", text=f"{text}: {now.summary}")


def _other(before: object, after: object) -> bool:
    """Whether two JSON values differ, in a type too: for Python, 1 is True."""
    return json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)


def _of_verdict(old: Verdict, now: Verdict, old_folder: Path, now_folder: Path) -> Iterator[str]:
    where = f"{old.requirement} {old.scenario} {old.check}"
    for name in FIELDS:
        before, after = getattr(old, name), getattr(now, name)
        if _other(before, after):
            yield f"{where}: {name} is {_shown(before)} in results.json, and by the evidence {_shown(after)}"
    for name in dict.fromkeys([*old.facts, *now.facts]):
        before, after = old.facts.get(name), now.facts.get(name)
        if _other(before, after) or (name in old.facts) != (name in now.facts):
            yield f"{where}: the fact {name} is {_shown(before)} in results.json, and by the evidence {_shown(after)}"
    places = [
        None if verdict.evidence is None else os.path.realpath(folder / verdict.evidence)
        for verdict, folder in ((old, old_folder), (now, now_folder))
    ]
    if places[0] != places[1]:
        yield f"{where}: results.json says that its evidence is in {old.evidence}, and it is in {places[1]}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return text if len(text) <= LENGTH else text[:LENGTH] + "…"
