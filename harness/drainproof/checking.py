"""Is a report what its evidence says, and is the evidence what the run left?

Three questions, each with an answer of its own, so that a reader learns all that is wrong and not just the first of it:

1. Does results.json agree with itself (counts, the verdict on the whole)?
2. Is each file of the evidence the one that the run left? The manifest of digests says.
3. Does the evidence, judged again, come to the same verdicts? That is asked of pytest, in a process of its own, by the
   very command that a user would give: there is no second way to judge.

The third question finds what the second cannot: somebody who changes a ledger and then writes new digests has a
consistent bundle, but its verdicts are other ones. Whoever changes evidence, digests and verdicts alike, and keeps them
consistent, is found by a signature alone. The same is true of what a run says of itself and no evidence holds: its
times, its command, what was declared as known.
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
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import drainproof
from drainproof import gate, installed, plain_file, saved
from drainproof.errors import UserError
from drainproof.evidence import digests
from drainproof.plugin import rendering
from drainproof.report_names import SESSION
from drainproof.saved import DamagedResults, Saved
from drainproof.text import json_value
from drainproof.verdict import Results, Verdict

Kind = Literal["results", "incomplete", "tampered", "not-reproduced", "not-judged"]
"""`results`: results.json is damaged or contradicts itself · `incomplete`: the run or its evidence is · `tampered`: a
file is not what the run left · `not-reproduced`: judged again, a verdict is another one · `not-judged`: it could not be
judged again."""

INCOMPLETE = ("manifest-missing", "file-missing")

FIELDS = ("verdict", "requirement", "level", "rule", "title", "summary", "details", "repetition")
"""What must be the same, besides the facts. How long it took and how to repeat it are told of that run alone."""

STATEMENT = "statement.json"
"""The in-toto Statement about the target, where a report has written one. Its signature is for others to verify."""

FROM_OUTSIDE = {(STATEMENT, "predicate.url")}
"""What a file says that does not follow from results.json."""

NOTHING = object()
"""In the place of a value that is not there."""

NO_CHECK = "not a check, and failed: "
"""What the reason of a gate begins with that no verdict tells of."""

PATIENCE = 10.0
"""Seconds that pytest has to end in order when the check is ended."""

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
    for text in (*_contradictions(found), *_gate(results)):
        yield Finding(kind="results", text=text)
    if results.aborted:
        yield Finding(kind="incomplete", text="the run did not reach its end: what is missing was not judged")
    if results.bundle is None:
        text = "the results name no evidence: the run did not reach its end, or this was taken out of them"
        yield Finding(kind="incomplete", text=text)
        return
    try:
        yield from _of_evidence(found, found.folder / results.bundle.folder, results.bundle.folder, folder, own)
    except OSError as error:
        text = f"the evidence {results.bundle.folder} cannot be read: {error.filename}: {error.strerror or error}"
        yield Finding(kind="not-judged", text=text)


def _of_evidence(found: Saved, evidence: Path, name: str, folder: Path, own: Sequence[Path]) -> Iterator[Finding]:
    """Raises OSError for what cannot be read."""
    results = found.results
    if not evidence.is_dir():
        text = f"the evidence {name} is not there: keep it with the results"
        yield Finding(kind="incomplete", text=text)
        return
    if not evidence.resolve().is_relative_to(found.folder.resolve()):
        if ".." in Path(name).parts:
            text = f"the evidence {name} is outside of {folder}: check the folder that it is in"
            yield Finding(kind="tampered", text=text)
        else:
            text = (
                f"the evidence {name} is behind a symbolic link that leads out of {folder}: put the folder there itself"
            )
            yield Finding(kind="not-judged", text=text)
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
    """Where results.json says of its verdicts what is not true of them, and where a statement says something else."""
    for (scenario, check_), number in Counter((v.scenario, v.check) for v in found.results.verdicts).items():
        if number > 1:
            yield f"results.json has {number} verdicts of {scenario} {check_}"
    for name, expected in sorted(rendering.derived(found.results, found.data).items()):
        if name == saved.FILE:
            for where, said, derived in _unlike(found.content, expected):
                yield f"{name} says {where} = {said}, and by its own verdicts it is {derived}"
        else:
            yield from _derived(found, found.folder / name, expected)


def _derived(found: Saved, file: Path, expected: Mapping[str, Any] | None) -> Iterator[str]:
    """Where a file that follows from results.json is about another one, or says something else."""
    try:
        content = json.loads(plain_file.read_text(file))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        yield f"{file.name} cannot be read: {getattr(error, 'strerror', None) or error}"
        return
    if expected is None:
        yield f"{file.name} is there, and by {saved.FILE} there is nothing that it could be about"
        return
    if file.name == STATEMENT and (wrong := _about_another(content, found.data)):
        yield wrong  # that the rest differs then is no news
        return
    for where, said, derived in _unlike(content, expected):
        if (file.name, where) not in FROM_OUTSIDE:
            yield f"{file.name} says {where} = {said}, and by {saved.FILE} it is {derived}"


def _about_another(content: Any, data: bytes) -> str:
    """Why an in-toto Statement is not about this results.json; empty where it is."""
    try:
        [named] = [
            each["digest"]["sha256"] for each in content["predicate"]["configuration"] if each["name"] == saved.FILE
        ]
    except (ValueError, KeyError, TypeError) as error:
        return f"{STATEMENT} names no {saved.FILE}: {type(error).__name__}: {error}"
    if named != hashlib.sha256(data).hexdigest():
        return f"{STATEMENT} is about another {saved.FILE}: its SHA-256 is not the one that the statement names"
    return ""


def _unlike(said: Any, expected: Any, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two JSON values differ: the path, and what each of them has there, in words."""
    if isinstance(said, dict) and isinstance(expected, dict):
        for name in dict.fromkeys([*said, *expected]):
            yield from _unlike(
                said.get(name, NOTHING), expected.get(name, NOTHING), f"{where}.{name}" if where else name
            )
    elif isinstance(said, list) and isinstance(expected, list) and len(said) == len(expected):
        for number, (one, other) in enumerate(zip(said, expected, strict=True)):
            yield from _unlike(one, other, f"{where}.{number}")
    elif said is NOTHING or expected is NOTHING or _other(said, expected):
        shown = ["nothing" if value is NOTHING else _shown(value) for value in (said, expected)]
        yield where, shown[0], shown[1]


def _gate(results: Results) -> Iterator[str]:
    """Where the gate is not what its rule says of the verdicts.

    What failed and is no check is known to the run alone; a baseline is not among the evidence, so of `no-regression`
    only that it agrees with itself can be said.
    """
    found = results.gate
    if found is None:
        return
    if found.passed != (not found.reasons):
        yield f"{saved.FILE} says gate.passed = {found.passed!r}, with {len(found.reasons)} reasons against it"
    try:
        kind, path = gate.parse(found.rule)
    except UserError as error:
        yield f"{saved.FILE} has a gate with the rule {_shown(found.rule)}: {error}"
        return
    if path:
        return
    judged = gate.judge(gate.Rule(given=found.rule, kind=kind), results)
    besides = [reason for reason in found.reasons if reason.startswith(NO_CHECK)]
    said = [[reason for reason in found.reasons if reason not in besides], list(found.remarks)]
    if _other(said, json_value([judged.reasons, judged.remarks])) or found.passed != (judged.passed and not besides):
        told = "open" if judged.passed else f"closed: {judged.reasons[0]}"
        yield f"{saved.FILE} has a gate that is {'open' if found.passed else 'closed'}; by its verdicts it is {told}"


def _remarks(results: Results) -> tuple[str, ...]:
    version = str(results.versions.get("drainproof"))
    if version == drainproof.__version__:
        return ()
    return (f"the run was made with drainproof {version}, this is {drainproof.__version__}: rules may differ",)


def _judged_again(found: Saved, evidence: Path, own: Sequence[Path]) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="drainproof-check-") as temporary:
        try:
            # what is relative to a folder is so by its real path: /tmp may be a symbolic link
            again = _judge(evidence, Path(temporary).resolve(), own)
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

    Nothing of the user's surroundings may have a part in it: no conftest, no configuration file (pytest takes one from
    any folder above), no options from the environment, no cache. Files of the user's own scenarios are collected where
    they are, with what belongs to them.
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
    else:
        configuration = folder / "empty.ini"
        configuration.write_text("[pytest]\n", encoding="utf-8")
        command += ["-c", str(configuration), f"--rootdir={folder}", f"--confcutdir={folder}"]
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != "PYTHONOPTIMIZE"
    }
    status, output = _output_of(command, cwd=Path.cwd() if own else folder, env=env)
    try:
        again = saved.read(reports)
    except UserError as error:
        said = [line for line in output.splitlines() if line.strip()]
        told = next((line for line in reversed(said) if "error" in line.lower()), said[-1] if said else "")
        raise UserError(f"the evidence cannot be judged again (pytest: exit status {status}): {told}") from error
    if again.results.aborted:
        raise UserError(f"judging again did not reach its end (pytest: exit status {status})")
    return again


def _output_of(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit status and the output of `command`, which ends with us if we are ended."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:  # also Ctrl-C and what stands for a signal
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=PATIENCE)
            process.kill()
            raise
    return process.returncode, output


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
    except (OSError, ValueError, AttributeError, RecursionError):
        return []  # whatever is wrong with it has been told


def _differences(old: Saved, again: Saved) -> Iterator[str]:
    """What results.json says, and the evidence does not."""
    for name in dict.fromkeys([*old.results.target, *again.results.target]):
        before, now = old.results.target.get(name), again.results.target.get(name)
        if _other(before, now):
            yield f"target.{name} is {_shown(before)} in results.json, and by the evidence {_shown(now)}"
    environments = [run.results.versions.get("target") for run in (old, again)]
    if _other(*environments):
        told = [_shown(environment) for environment in environments]
        yield f"versions.target is {told[0]} in results.json, and by the evidence {told[1]}"
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
