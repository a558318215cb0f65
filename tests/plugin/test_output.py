"""What a person sees: while it runs, and at the end."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

SCENARIOS = """
class TestStop:
    '''{stop_signal} to {recipient}.'''

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal, recipient):
        return experiment.run(phases=["starting", "steady state, 8 in flight"])

    @requirement("DRAIN-1")
    def test_one(self, evidence, facts, stop_signal, recipient):
        facts(lost=3, accepted=24, first_lost_after_s=0.012, in_flight=8)
        facts.details("\\x1b[31mERROR:\\x1b[0m lost\\x07")
        assert stop_signal == "SIGTERM" or recipient == "group", "3 of 24 were lost"
    @requirement("DRAIN-2")
    def test_two(self, evidence): pass
    @requirement("DRAIN-5")
    def test_five(self, evidence, recipient): assert recipient == "main", "still ready"
    @requirement("DRAIN-7")
    def test_seven(self, evidence): raise Unsupported("no endless request")
    @requirement("EXIT-1")
    def test_exit(self, evidence): pass
"""


def test_a_line_per_scenario(inner):
    inner.scenarios(SCENARIOS)
    result = inner.run()
    result.stdout.fnmatch_lines(
        [
            "drainproof: judging standin in server",
            "drain  SIGTERM to the main process    * s",
            "       ✓ DRAIN-1,2,5 EXIT-1",
            "       unsupported DRAIN-7  no endless request",
            "drain  SIGTERM to the whole process group    * s",
            "       ✓ DRAIN-1,2 EXIT-1",
            "       note DRAIN-5  still ready",
            "       unsupported DRAIN-7  no endless request",
            "drain  SIGINT to the main process    * s",
            "       ✓ DRAIN-2,5 EXIT-1",
            "       FAIL DRAIN-1  3 of 24 were lost",
        ]
    )
    text = result.stdout.str()
    assert "steady state" not in text  # no terminal, so nothing preliminary
    assert "drain.py" not in text
    assert max(map(len, result.outlines)) <= 100


def test_the_reason_of_a_red_verdict_is_seen_on_a_narrow_terminal(inner, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    inner.scenarios("""
        class TestIt:
            "It."
            @pytest.fixture(scope="class")
            @classmethod
            def evidence(cls, experiment):
                return experiment.run(raises="Inconclusive", says="no steady state: stream held has 3 of 8 requests, "
                    "and the server does not read what it accepted before the signal " + "and so on " * 40)
            @requirement("DRAIN-1")
            def test_one(self, evidence): pass
            @requirement("DRAIN-2")
            def test_two(self, evidence): pass
            @requirement("DRAIN-3")
            def test_three(self): assert False, "3 of 24 requests that were accepted before the signal got no answer"
            @requirement("DRAIN-4")
            def test_four(self): assert False, "short"
            @requirement("DRAIN-5")
            def test_five(self): assert False, "a note may be cut, because it does not turn anything red in the end"
        """)
    result = inner.run()
    lines = result.outlines[result.outlines.index("       FAIL DRAIN-3") :][:8]
    assert lines == [
        "       FAIL DRAIN-3",
        "         3 of 24 requests that were accepted before the signal got no answer",
        "       FAIL DRAIN-4  short",
        "       INCONCLUSIVE DRAIN-1,2",
        "         no steady state: stream held has 3 of 8 requests, and the server does",
        "         not read what it accepted before the signal and so on and so on and so",
        "         on and so on and so on and so on and so on and so on and so on and so …",
        "       note DRAIN-5  a note may be cut, because it does not turn anything red i…",
    ]


def test_the_summary(inner):
    inner.scenarios(SCENARIOS)
    result = inner.run()
    folder = inner.evidence().relative_to(inner.path)
    result.stdout.fnmatch_lines(
        [
            "=*= drainproof: standin =*=",
            "FAIL  DRAIN-1",
            "      rule     Every request that was accepted before the signal gets its complete and correct",
            "      SIGINT to the main process",
            "      3 of 24 were lost",
            "      facts    lost = 3   accepted = 24   first_lost_after_s = 0.012",
            "      | ERROR: lost\\x07",
            f"      see      {folder}/drain.TestStop[[]SIGINT-main[]]",
            "      repeat   pytest --target=server -k 'drain.TestStop[[]SIGINT-main[]]'",
            "note  DRAIN-5  still ready (2 scenarios)",
            "unsupported  DRAIN-7  no endless request (4 scenarios)",
            "standin does not keep DRAIN-1.",
            "13 pass, 1 fail, 2 notes, 4 unsupported in 4 scenarios, * s",
            "Report: drainproof-report/certificate.html, and results.json and junit.xml beside it",
            "=* 1 failed, 13 passed, *2 note* in *",
        ]
    )
    text = result.stdout.str()
    assert text.count("3 of 24 were lost") == 2
    assert "short test summary" not in text
    assert "= FAILURES" not in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_letters_when_quiet(inner):
    inner.scenarios(SCENARIOS)
    result = inner.run("-q")
    result.stdout.fnmatch_lines(["...u...nu.F..u...nu.*"])


def test_words_when_verbose(inner):
    inner.scenarios(SCENARIOS)
    result = inner.run("-v")
    result.stdout.fnmatch_lines(
        [
            "standin_scenarios/drain.py::TestStop::test_one[[]SIGTERM-main[]] PASS *",
            "standin_scenarios/drain.py::TestStop::test_seven[[]SIGTERM-main[]] UNSUPPORTED *",
            "standin_scenarios/drain.py::TestStop::test_five[[]SIGTERM-group[]] NOTE *",
            "standin_scenarios/drain.py::TestStop::test_one[[]SIGINT-main[]] FAIL *",
        ]
    )


def test_a_green_run(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self): pass
        """)
    result = inner.run()
    result.stdout.fnmatch_lines(["standin keeps all 1 MUST requirements that were judged.", "1 pass in 1 scenario, *"])


def test_a_target_that_never_starts_does_not_flood_the_terminal(inner):
    inner.scenarios("""
        @pytest.mark.parametrize("n", range(30), scope="class")
        class TestIt:
            "Number {n}."
            @pytest.fixture(scope="class")
            @classmethod
            def evidence(cls, experiment, n):
                return experiment.run(raises="NotReadyInTime", says=f"not ready after 3.{n} s\\n" + "log line\\n" * 50)
            @requirement("DRAIN-1")
            def test_one(self, evidence): pass
            @requirement("DRAIN-2")
            def test_two(self, evidence): pass
        """)
    result = inner.run()
    end = result.stdout.str().partition("= drainproof: standin")[2].splitlines()
    assert len(end) < 80
    result.stdout.fnmatch_lines(
        [
            "       INCONCLUSIVE DRAIN-1,2  the target did not start: not ready after 3.0 s",
            "INCONCLUSIVE  DRAIN-1, DRAIN-2",
            "      Number 0",
            "      the target did not start: not ready after 3.0 s",
            "      | … 42 more lines in results.json",
            "      and in 27 more:",
            "      … 19 more in results.json",
            "Nothing could be judged of standin.",
        ]
    )


def test_no_summary_if_nobody_wants_one(inner):
    inner.scenarios(SCENARIOS)
    inner.run("--no-summary").stdout.no_fnmatch_line("*does not keep*")


def test_stopping_at_the_first_failure_shows_the_scenario(inner):
    inner.scenarios(SCENARIOS)
    result = inner.run("-x", "-k", "SIGINT and main")
    result.stdout.fnmatch_lines(["drain  SIGINT to the main process *", "       FAIL DRAIN-1  3 of 24 were lost"])
    assert inner.results()["aborted"]


def on_a_terminal(inner, *args: str, **environment: str) -> str:
    """What pytest writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", *map(str, inner._args(args, True))]
    env = {**os.environ, "TERM": "xterm", "PY_COLORS": "1", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=inner.path, env=env) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            written += part
        process.wait()
    os.close(ours)
    return written.decode()


def test_on_a_terminal_the_phases_are_seen(inner):
    inner.scenarios(SCENARIOS)
    text = on_a_terminal(inner)
    first = text.partition("DRAIN-1,2,5")[0]
    phases = [re.sub(r"\x1b\[[0-9;]*m", "", part).rstrip() for part in first.split("\r")]
    assert "drain  SIGTERM to the main process … starting" in phases
    assert "drain  SIGTERM to the main process … steady state, 8 in flight" in phases
    assert any(re.fullmatch(r"drain  SIGTERM to the main process +\d+\.\d s", phase) for phase in phases)
    assert "\x1b[31m       FAIL DRAIN-1  3 of 24 were lost\x1b[0m" in text
    assert "\x07" not in text


def test_a_terminal_without_unicode(inner):
    inner.scenarios(SCENARIOS)
    text = on_a_terminal(inner, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert "       + DRAIN-1,2,5 EXIT-1" in text
    assert "\\u" not in text


@pytest.mark.parametrize("args", [[], ["--collect-only"], ["-x"]])
def test_without_the_terminal_plugin_there_are_still_reports(inner, args):
    inner.scenarios(SCENARIOS)
    result = inner.run_apart("-p", "no:terminal", *args)
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert result.ret == (0 if args == ["--collect-only"] else 1)
    if args == []:
        assert inner.results()["counts"]["fail"] == 1
        assert not inner.results()["aborted"]
