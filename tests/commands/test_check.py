"""`drainproof check`: a bundle as the run left it, and bundles that somebody had in hand since."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from drainproof.evidence import digests
from drainproof.verdict import Bundle, Results
from drainproof_reports import results_json

from tests.commands.front_door import drainproof
from tests.real.runs import BROKEN, run

EXPERIMENT = "drain.TestStopUnderLoad-SIGTERM-main-1w"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report folder of one scenario on a real server, in which DRAIN-1 fails."""
    folder = tmp_path_factory.mktemp("original") / "report"
    one = ("-k", "TestStopUnderLoad and [SIGTERM-main-1w]")
    live = run(BROKEN / "drops-requests-in-flight", report=folder, arguments=one, timeout=120)
    assert live.status == 1, live.output
    return folder


@pytest.fixture
def report(original: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    shutil.copytree(original, tmp_path / "report")
    return tmp_path / "report"


def bundle(report: Path) -> Path:
    [folder] = (report / "evidence").iterdir()
    return folder


def lines(report: Path, name: str) -> tuple[Path, list[str]]:
    file = bundle(report) / EXPERIMENT / name
    return file, file.read_text().splitlines(keepends=True)


def change_results(report: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes results.json as somebody would who knows it: what is derived from the verdicts follows them."""
    file = report / "results.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(results_json.document(Results.from_json(content))))


def change_json(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def seal(report: Path) -> None:
    """Writes digests, and their digest, anew: the bundle is then consistent in itself."""
    content = json.loads((report / "results.json").read_text())
    results = Results.from_json(content)
    digest = digests.write(bundle(report), results=results)
    assert digest is not None
    assert results.bundle is not None
    change_results(
        report,
        lambda c: c.update(bundle=asdict(Bundle(folder=results.bundle.folder, digests=digest))),  # type: ignore[union-attr]
    )


def failed(content: dict[str, Any]) -> dict[str, Any]:
    verdict: dict[str, Any] = next(v for v in content["verdicts"] if v["requirement"] == "DRAIN-1")
    return verdict


# What somebody may do to a bundle. Each gives a part of what the check has to say.


def verdict_flipped(report: Path) -> str:
    change_results(report, lambda c: failed(c).update(verdict="pass"))
    return "verdict is 'pass' in results.json, and by the evidence 'fail'"


def verdict_removed(report: Path) -> str:
    change_results(report, lambda c: c["verdicts"].remove(failed(c)))
    return "is not in results.json, and by the evidence it is 'fail'"


def verdict_added(report: Path) -> str:
    change_results(
        report, lambda c: c["verdicts"].append({**failed(c), "scenario": "drain.TestMade", "verdict": "pass"})
    )
    return "drain.TestMade is no scenario of the packages here"


def verdict_doubled(report: Path) -> str:
    change_results(report, lambda c: c["verdicts"].insert(0, {**failed(c), "verdict": "pass"}))
    return "results.json has 2 verdicts of drain.TestStopUnderLoad[SIGTERM-main-1w]"


def facts_changed(report: Path) -> str:
    change_results(report, lambda c: failed(c)["facts"].update(lost=1000))
    return "the fact lost is 1000 in results.json, and by the evidence"


def summary_changed(report: Path) -> str:
    change_results(report, lambda c: failed(c).update(summary="nearly all were answered"))
    return "summary is 'nearly all were answered' in results.json"


def level_changed(report: Path) -> str:
    change_results(report, lambda c: failed(c).update(level="SHOULD"))
    return "level is 'SHOULD' in results.json, and by the evidence 'MUST'"


def evidence_of_another(report: Path) -> str:
    change_results(report, lambda c: failed(c).update(evidence="evidence/other"))
    return "results.json says that its evidence is in evidence/other"


def aborted_flipped(report: Path) -> str:
    change_results(report, lambda c: c.update(aborted=True))
    return "the results say aborted = True, the run had False"


def deselected_changed(report: Path) -> str:
    change_results(report, lambda c: c.update(deselected=7))
    return "the results say deselected = 7, the run had"


def gate_made_up(report: Path) -> str:
    gate = {"rule": "must", "passed": True, "reasons": [], "remarks": []}
    change_results(report, lambda c: c.update(gate=gate))
    return "the results say gate = {'rule': 'must'"


def overall_changed(report: Path) -> str:
    change_json(report / "results.json", lambda c: c.update(overall="conforming"))
    return "results.json says overall = 'conforming', and by its own verdicts it is 'not conforming'"


def policy_in_results_changed(report: Path) -> str:
    change_results(report, lambda c: c["target"]["manifest"].update(policy={}))
    return "target.manifest is"


def bundle_taken_out(report: Path) -> str:
    change_results(report, lambda c: c.update(bundle=None))
    return "the results name no evidence"


def bundle_elsewhere(report: Path) -> str:
    shutil.copytree(bundle(report), report.parent / "elsewhere")
    change_results(report, lambda c: c["bundle"].update(folder="../elsewhere"))
    return "the evidence ../elsewhere is outside of"


def results_cut_off(report: Path) -> str:
    file = report / "results.json"
    file.write_text(file.read_text()[:-100])
    return "is damaged: it is no JSON"


def results_of_a_wrong_type(report: Path) -> str:
    change_json(report / "results.json", lambda c: c.update(verdicts="all passed"))
    return "is damaged: verdicts"


def ledger_line_changed(report: Path) -> str:
    file, content = lines(report, "ledger.jsonl")
    file.write_text("".join(content).replace('"cause":"eof"', '"cause":"oef"'))
    return f"{EXPERIMENT}/ledger.jsonl was changed: it has another SHA-256"


def ledger_truncated(report: Path) -> str:
    file, content = lines(report, "ledger.jsonl")
    file.write_text("".join(content[: len(content) // 2]))
    return f"{EXPERIMENT}/ledger.jsonl was changed: it has"


def timeline_event_removed(report: Path) -> str:
    file, content = lines(report, "timeline.jsonl")
    file.write_text("".join(line for line in content if '"event":"fault"' not in line))
    return f"{EXPERIMENT}/timeline.jsonl was changed"


def probes_changed(report: Path) -> str:
    file, content = lines(report, "probes.jsonl")
    file.write_text("".join(content[:1] + content[2:]))
    return f"{EXPERIMENT}/probes.jsonl was changed"


def output_line_removed(report: Path) -> str:
    file, content = lines(report, "output.jsonl")
    file.write_text("".join(content[1:]))
    return f"{EXPERIMENT}/output.jsonl was changed"


def experiment_removed(report: Path) -> str:
    shutil.rmtree(bundle(report) / EXPERIMENT)
    return f"{EXPERIMENT}/ledger.jsonl is missing"


def policy_changed(report: Path) -> str:
    change_json(
        bundle(report) / EXPERIMENT / "experiment.json", lambda c: c["target"]["policy"].update(grace_period=99)
    )
    return f"{EXPERIMENT}/experiment.json was changed"


def target_changed(report: Path) -> str:
    change_json(bundle(report) / "target.json", lambda c: c.update(name="somebody else"))
    return "target.json was changed"


def check_deselected_later(report: Path) -> str:
    change_json(bundle(report) / "session.json", lambda c: c["checks"].clear())
    return "session.json was changed"


def file_added(report: Path) -> str:
    folder = bundle(report) / "discarded" / "drain.TestOther"
    folder.mkdir(parents=True)
    (folder / "ledger.jsonl").touch()
    return "discarded/drain.TestOther/ledger.jsonl is not in digests.json: it was added"


def file_replaced_by_a_link(report: Path) -> str:
    file = bundle(report) / EXPERIMENT / "ledger.jsonl"
    file.rename(report.parent / "ledger.jsonl")
    file.symlink_to(report.parent / "ledger.jsonl")
    return f"{EXPERIMENT}/ledger.jsonl is a symbolic link"


def folder_replaced_by_a_link(report: Path) -> str:
    (bundle(report) / EXPERIMENT).rename(report.parent / "moved")
    (bundle(report) / EXPERIMENT).symlink_to(report.parent / "moved")
    return f"{EXPERIMENT} is a symbolic link"


def digests_edited(report: Path) -> str:
    ledger_truncated(report)
    file = bundle(report) / EXPERIMENT / "ledger.jsonl"
    now = {"size": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    change_json(bundle(report) / "digests.json", lambda c: c["files"].update({f"{EXPERIMENT}/ledger.jsonl": now}))
    return "digests.json is not the one that the results name"


def digests_removed(report: Path) -> str:
    (bundle(report) / "digests.json").unlink()
    return "digests.json is missing: the run did not reach its end, or the file was removed"


def digests_damaged(report: Path) -> str:
    (bundle(report) / "digests.json").write_text("[]")
    return "digests.json cannot be read"


def digests_lead_outside(report: Path) -> str:
    (report.parent / "outside").touch()
    entry = {"size": 0, "sha256": hashlib.sha256().hexdigest()}
    change_json(bundle(report) / "digests.json", lambda c: c["files"].update({"../../../outside": entry}))
    return "digests.json names ../../../outside, which is outside of the folder"


def results_changed_where_only_the_statement_tells(report: Path) -> str:
    change_results(report, lambda c: c.update(command="pytest --target=another"))
    return "statement.json is about another results.json"


def statement_damaged(report: Path) -> str:
    (report / "statement.json").write_text("{}")
    return "statement.json names no results.json"


TAMPERINGS = [
    verdict_flipped,
    verdict_removed,
    verdict_added,
    verdict_doubled,
    facts_changed,
    summary_changed,
    level_changed,
    evidence_of_another,
    aborted_flipped,
    deselected_changed,
    gate_made_up,
    overall_changed,
    policy_in_results_changed,
    bundle_taken_out,
    bundle_elsewhere,
    results_changed_where_only_the_statement_tells,
    statement_damaged,
    results_cut_off,
    results_of_a_wrong_type,
    ledger_line_changed,
    ledger_truncated,
    timeline_event_removed,
    probes_changed,
    output_line_removed,
    experiment_removed,
    policy_changed,
    target_changed,
    check_deselected_later,
    file_added,
    file_replaced_by_a_link,
    folder_replaced_by_a_link,
    digests_edited,
    digests_removed,
    digests_damaged,
    digests_lead_outside,
]


def test_what_the_run_left_is_reproduced(report: Path) -> None:
    done = drainproof("check", report)
    assert (done.status, done.out) == (0, "reproduced: each verdict (12), from evidence that is unchanged\n")


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_tampering_is_named(report: Path, tamper: Callable[[Path], str]) -> None:
    expected = tamper(report)
    done = drainproof("check", report)
    assert done.status == 1, done.out
    assert expected in done.out


def lost_requests_answered(report: Path) -> None:
    """Makes those that were lost look answered as the others of their stream are."""
    file, content = lines(report, "ledger.jsonl")
    records = [json.loads(line) for line in content]
    held = [r for r in records if r.get("stream") == "hold"]
    good = next(r for r in held if r["right"])
    for record in held:
        if not record["right"]:
            kept = ("id", "token", "port", "due", "connect_start", "connected", "send_start", "sent")
            record.update({name: value for name, value in good.items() if name not in kept})
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def request_left_out(report: Path) -> None:
    file, content = lines(report, "ledger.jsonl")
    file.write_text("".join(line for line in content if '"cause":"eof"' not in line))


@pytest.mark.parametrize(
    "alter, expected",
    [
        (lost_requests_answered, "verdict is 'fail' in results.json, and by the evidence 'pass'"),
        (request_left_out, "verdict is 'fail' in results.json, and by the evidence 'error'"),
    ],
)
def test_a_bundle_that_was_sealed_again_is_betrayed_by_its_verdicts(
    report: Path, alter: Callable[[Path], None], expected: str
) -> None:
    alter(report)
    seal(report)
    done = drainproof("check", report)
    assert done.status == 1
    assert expected in done.out
    assert "tampered" not in done.out


def test_a_run_that_was_stopped_is_incomplete_and_no_more_than_that(tmp_path: Path) -> None:
    target = tmp_path / "server"
    target.mkdir()
    (target / "drainproof.toml").write_text(
        '[start]\ncommand = ["false", "{port}"]\n[health]\nreadiness = "/"\n[[request]]\npath = "/"\n'
    )
    stopped = run(
        target, report=tmp_path / "report", arguments=("-x", "-k", "TestStopUnderLoad and SIGTERM"), timeout=120
    )
    assert stopped.results["aborted"]
    session = json.loads((bundle(tmp_path / "report") / "session.json").read_text())
    selected = sum(map(len, session["checks"].values()))
    done = drainproof("check", tmp_path / "report")
    assert done.status == 1
    assert done.out == (
        "incomplete      the run did not reach its end: what is missing was not judged\n"
        f"incomplete      {selected - 1} checks that were selected were not judged\n"
        "not reproduced: 2 findings\n"
    )


def test_findings_as_json(report: Path) -> None:
    facts_changed(report)
    done = drainproof("check", report, "--json")
    found = json.loads(done.out)
    assert (done.status, found["reproduced"], found["verdicts"]) == (1, False, 12)
    assert [finding["kind"] for finding in found["findings"]] == ["results", "not-reproduced"]


def test_surroundings_have_no_part_in_it(report: Path, tmp_path: Path) -> None:
    """Options from the environment or a configuration file that would leave checks out, or make them green."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -k nothing\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit('a conftest')")
    done = drainproof("check", "report", cwd=tmp_path, env={"PYTEST_ADDOPTS": "-k nothing", "PYTHONOPTIMIZE": "1"})
    assert done.status == 0, done.out


def test_mistakes_of_the_user_are_one_line(tmp_path: Path) -> None:
    for folder, expected in (
        (tmp_path, "there is no results.json in it"),
        (tmp_path / "no", "there is no such folder"),
    ):
        done = drainproof("check", folder)
        assert (done.status, done.out) == (2, "")
        assert expected in done.err
        assert done.err.count("\n") == 1
