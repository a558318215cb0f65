"""What the laboratory has to say before the first experiment, as pytest shows it."""

from __future__ import annotations

SCENARIO = """
class TestIt:
    @requirement("DRAIN-1")
    def test_one(self, experiment): experiment.run()
"""

TALKS = """
import standin

class Laboratory(standin.Laboratory):
    def preflight(self):
        {body}

def pytest_drainproof_laboratory(target, folder, progress):
    return Laboratory(target, folder, progress)
"""


def talks(inner, body):
    inner.write("talks.py", TALKS.format(body=body))
    inner.scenarios(SCENARIO)
    return ("-p", "talks")


def test_it_is_said_before_the_first_scenario(inner):
    text = "CMD is in shell form " + "and so on " * 20
    result = inner.run(*talks(inner, f"return [{text!r}, 'two\\nlines\\x1b[31m']"))
    assert result.ret == 0
    lines = result.outlines
    first = next(i for i, line in enumerate(lines) if line.startswith("preflight  CMD is in shell form and so on"))
    assert lines[first + 1].startswith(" " * 11 + "on and so on")
    assert first < next(i for i, line in enumerate(lines) if line.startswith("drain  it"))
    assert not any("\x1b[31m" in line for line in lines), "what a target says cannot colour the terminal"
    assert any(line.startswith("preflight  two") for line in lines)


def test_nothing_to_say(inner):
    result = inner.run(*talks(inner, "return []"))
    assert result.ret == 0
    result.stdout.no_fnmatch_line("preflight*")


def test_a_laboratory_without_one(inner):
    inner.scenarios(SCENARIO)
    assert inner.run().ret == 0


def test_it_is_not_asked_where_nothing_runs(inner):
    options = talks(inner, "raise AssertionError('asked')")
    assert inner.run(*options, "--collect-only").ret == 0
    assert inner.run(*options, "-k", "nothing_has_this_name").ret == 5


def test_a_preflight_that_breaks_down_is_told_and_stops_nothing(inner):
    """It judges nothing: what it wanted to say is not worth a run."""
    result = inner.run(*talks(inner, "raise RuntimeError('no such file')"))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["preflight  failed: RuntimeError: no such file"])
    assert list(inner.verdicts().values()) == ["pass"]
