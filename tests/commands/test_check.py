"""`drainproof check`: a bundle as the run left it, and bundles that somebody had in hand since."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from drainproof.evidence import digests
from drainproof.verdict import Bundle, Results
from drainproof_reports import results_json

from tests.commands.front_door import COMMAND, drainproof
from tests.real.runs import BROKEN, environment, run

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


def statement_says_passed(report: Path) -> str:
    change_json(report / "statement.json", lambda c: c["predicate"].update(result="PASSED"))
    return "statement.json says predicate.result = 'PASSED', and by results.json it is 'FAILED'"


def statement_of_another_subject(report: Path) -> str:
    change_json(report / "statement.json", lambda c: c["subject"][0].update(name="somebody else"))
    return "statement.json says subject.0.name = 'somebody else', and by results.json it is"


def statement_with_a_test_more(report: Path) -> str:
    change_json(report / "statement.json", lambda c: c["predicate"]["passedTests"].append("DRAIN-1 x::y"))
    return "statement.json says predicate.passedTests = "


def statement_too_deep(report: Path) -> str:
    (report / "statement.json").write_text("[" * 200_000)
    return "statement.json cannot be read: "


def statement_is_a_fifo(report: Path) -> str:
    (report / "statement.json").unlink()
    os.mkfifo(report / "statement.json")
    return "statement.json cannot be read: is no regular file"


def digests_too_deep(report: Path) -> str:
    (bundle(report) / "digests.json").write_text("[" * 200_000)
    return "digests.json cannot be read: "


def environment_changed(report: Path) -> str:
    change_results(report, lambda c: c["versions"]["target"].update(python="9.9"))
    return "versions.target is {"


def versions_changed(report: Path) -> str:
    change_results(report, lambda c: c["versions"].update(python="2.7"))
    return "the results say versions = {"


def duration_changed(report: Path) -> str:
    change_results(report, lambda c: failed(c).update(duration=0.0))
    return "the results say of a verdict another duration, repeat or known than the run had"


def known_made_up(report: Path) -> str:
    known = {"id": "DRAIN-1", "reason": "it is fine", "link": "https://example.org"}
    change_results(report, lambda c: failed(c).update(known=known))
    return "the results say of a verdict another duration, repeat or known than the run had"


def repetition_made_up(report: Path) -> str:
    change_results(report, lambda c: failed(c).update(repetition=1))
    return "repetition is 1 in results.json, and by the evidence 0"


def repetitions_made_up(report: Path) -> str:
    change_json(report / "results.json", lambda c: c.update(repetitions={"repeat": 50}))
    return 'results.json says repetitions = {"repeat": 50}, and by its own verdicts it is nothing'


def gate_made_up_and_sealed(report: Path) -> str:
    gate_made_up(report)
    seal(report)
    return "results.json has a gate that is open; by its verdicts it is closed: DRAIN-1 does not hold"


def evidence_on_another_disk(report: Path) -> str:
    (report / "evidence").rename(report.parent / "evidence")
    (report / "evidence").symlink_to(report.parent / "evidence")
    return "is behind a symbolic link that leads out of"


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
    statement_says_passed,
    statement_of_another_subject,
    statement_with_a_test_more,
    statement_too_deep,
    statement_is_a_fifo,
    digests_too_deep,
    environment_changed,
    versions_changed,
    duration_changed,
    known_made_up,
    repetition_made_up,
    repetitions_made_up,
    gate_made_up_and_sealed,
    evidence_on_another_disk,
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


def test_a_configuration_above_the_temporary_folder_runs_nothing(report: Path, tmp_path: Path) -> None:
    """Neither by a file there nor by variables; and a temporary folder behind a link changes no path."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p evil_plugin\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit('a conftest')")
    (tmp_path / "evil_plugin.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    env = {"TMPDIR": str(tmp_path / "link"), "PYTHONPATH": str(tmp_path), "PYTEST_PLUGINS": "evil_plugin"}
    done = drainproof("check", report, env=env)
    assert done.status == 0, done.out
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(report: Path, tmp_path: Path, signum: signal.Signals) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    pid_file = tmp_path / "pid"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'pytest' in sys.orig_argv:\n"
        f"    open({str(pid_file) + '.new'!r}, 'w').write(str(os.getpid()))\n"
        f"    os.rename({str(pid_file) + '.new'!r}, {str(pid_file)!r})\n"
        "    time.sleep(600)\n"
    )
    env = {**environment(), "TMPDIR": str(temporary), "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([COMMAND, "check", report], env=env, stderr=subprocess.PIPE, text=True) as process:
        while not pid_file.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + signum, "")
    assert list(temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_mistakes_of_the_user_are_one_line(tmp_path: Path) -> None:
    for folder, expected in (
        (tmp_path, "there is no results.json in it"),
        (tmp_path / "no", "there is no such folder"),
    ):
        done = drainproof("check", folder)
        assert (done.status, done.out) == (2, "")
        assert expected in done.err
        assert done.err.count("\n") == 1
