"""Births, deaths and schedules as the timeline has them: pure judging."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from drainproof.evidence.lives import Attempt, Life, Lives, attempts, side_by_side
from drainproof.probes.kin import Kin, shape
from drainproof.target.supervision import Restart, Schedule
from hypothesis import given
from hypothesis import strategies as st

DOUBLING = Restart(schedule="doubling", first_delay=1.0)


def lives(gaps: Iterable[float], *, each: float = 0.01, since: float = 100.0) -> list[Life]:
    """Workers that are born so long after the death of the one before, and live for `each` seconds."""
    found, died = [], since
    for number, gap in enumerate(gaps):
        born = died + gap
        died = born + each
        found.append(Life(pid=10 + number, parent=1, born=born, died=died, exe="x", cmdline=("worker",)))
    return found


def judged(
    gaps: Iterable[float], restart: Restart, *, each: float = 0.01, blind: Iterable[tuple[float, float]] = ()
) -> list[str]:
    successors = lives(gaps, each=each)
    found = attempts(killed=99.99, died=100.0, successors=successors, restart=restart, blind=blind)
    return [attempt.off for attempt in found]


@pytest.mark.parametrize(
    ("restart", "delays"),
    [
        (Restart(schedule="doubling", first_delay=0.5), [0.5, 1, 2, 4, 8]),
        (Restart(schedule="doubling", first_delay=1, longest_delay=3), [1, 2, 3, 3, 3]),
        (Restart(schedule="fibonacci"), [1, 1, 2, 3, 5]),
        (Restart(schedule="constant", first_delay=2), [2, 2, 2, 2, 2]),
        (Restart(schedule=(0.0, 1.0, 5.0)), [0, 1, 5, 5, 5]),
        (Restart(), []),
    ],
)
def test_delays(restart: Restart, delays: list[float]) -> None:
    assert restart.delays(5) == delays


@pytest.mark.parametrize(
    ("restart", "most"),
    [
        (Restart(max_restarts=0), 0),
        (Restart(schedule="doubling", first_delay=1, max_seconds=8), 4),  # failures after 0, 1, 3, 7 s, and after 15
        (Restart(schedule="fibonacci", max_seconds=300), 12),  # the one after 232 s is the last in time
        (Restart(schedule="fibonacci", max_seconds=8, max_restarts=3), 3),
        (Restart(schedule="constant", first_delay=0.5, max_seconds=2), 5),
        (Restart(max_seconds=8), None),
        (Restart(schedule="doubling"), None),
    ],
)
def test_the_limit(restart: Restart, most: int | None) -> None:
    assert restart.most_attempts() == most


def test_what_follows_its_schedule_is_not_off() -> None:
    assert judged([1.02, 2.01, 4.3], DOUBLING) == ["", "", ""]


def test_fibonacci_is_no_doubling_and_doubling_no_fibonacci() -> None:
    assert judged([1, 1, 2, 3, 5], DOUBLING) == ["", "too early", "too early", "too early", "too early"]
    assert judged([1, 2, 4, 8], Restart(schedule="fibonacci"))[2:] == ["too late", "too late"]


def test_the_start_up_of_a_worker_is_allowed_for() -> None:
    """It says that it failed, and ends a second later: counted from the death, each delay is a second shorter."""
    assert judged([1.0, 1.0, 3.0], DOUBLING, each=1.1) == ["", "", ""]
    # But with delays that grow, no start-up hides a wrong schedule for long.
    assert judged([1, 1, 2, 3, 5], DOUBLING, each=1.5)[3:] == ["too early", "too early"]


def test_a_first_attempt_can_not_have_failed_before_it_was_killed() -> None:
    assert judged([0.3], DOUBLING) == ["too early"]
    seen_late = attempts(killed=99.2, died=100.0, successors=lives([0.3]), restart=DOUBLING)
    assert [attempt.off for attempt in seen_late] == [""]


def test_gaps_in_the_watch_excuse_what_came_late() -> None:
    assert judged([3.5], DOUBLING) == ["too late"]
    assert judged([3.5], DOUBLING, blind=[(100.5, 102.0)]) == [""]
    assert judged([3.5], DOUBLING, blind=[(90.0, 99.0)]) == ["too late"]


@given(
    st.sampled_from(["doubling", "fibonacci", "constant"]),
    st.floats(0.2, 2),
    st.integers(0, 6),
    st.floats(0, 3),
    st.floats(0, 1),
)
def test_no_supervisor_that_keeps_its_schedule_is_blamed(
    schedule: Schedule, first: float, count: int, start_up: float, late: float
) -> None:
    """However long workers take to fail, and whether it counts from the failure or from the end."""
    restart = Restart(schedule=schedule, first_delay=first)
    from_the_end = [delay + late for delay in restart.delays(count)]
    assert not any(judged(from_the_end, restart, each=start_up))
    from_the_failure = [max(0.0, delay - start_up * late) for delay in restart.delays(count)]
    assert not any(judged(from_the_failure[:1] and from_the_end[:1] + from_the_failure[1:], restart, each=start_up))


def events(*lines: dict[str, Any]) -> Lives:
    kin = Kin(main=1, like=frozenset({(1, "python3", shape(["python3", "worker", "--fd", "3"]))}))
    return Lives(lines, kin=kin)


def born(pid: int, t: float, *cmdline: str, parent: int = 1) -> dict[str, Any]:
    return {"event": "born", "t": t, "pid": pid, "parent": parent, "exe": "python3", "cmdline": list(cmdline)}


def test_workers_are_told_from_helpers() -> None:
    found = events(
        born(1, 0, "python3", "server"),
        born(2, 1, "python3", "worker", "--fd", "7"),
        born(3, 1, "python3", "resource_tracker", "7"),
        born(4, 1, "python3", "worker", "--fd", "8", parent=2),
        born(5, 2, "python3", "server"),  # a fork that will become a worker
        {"event": "became", "t": 2.1, "pid": 5, "exe": "python3", "cmdline": ["python3", "worker", "--fd", "12"]},
        {"event": "died", "t": 3.0, "pid": 2},
    )
    assert [(life.pid, life.born, life.died) for life in found.workers] == [(2, 1, 3.0), (5, 2, None)]
    assert [life.pid for life in found.born_after(1.5)] == [5]


def test_a_pid_that_is_used_again_is_another_life() -> None:
    worker = ("python3", "worker", "--fd", "7")
    found = events(born(2, 1, *worker), {"event": "died", "t": 2.0, "pid": 2}, born(2, 3, *worker))
    assert [(life.born, life.died) for life in found.workers] == [(1, 2.0), (3, None)]
    assert found.of([2])[0].died == 2.0


def test_the_plot_shows_both_schedules() -> None:
    found = [
        Attempt(number=1, declared=1.0, observed=1.02, longest=1.03),
        Attempt(number=2, declared=2.0, observed=1.01, longest=1.02, early=True),
    ]
    header, first, second = side_by_side(found, width=10)
    assert header.split()[:3] == ["attempt", "declared", "observed"]
    assert first.split()[:5] == ["1", "1.00", "s", "1.02", "s"]
    assert second.endswith("too early")
    assert second.count("█") == 5 and second.index("│") > second.rindex("█")


def test_a_process_in_a_container_has_another_number_for_itself() -> None:
    born = {"event": "born", "t": 1.0, "parent": 1, "exe": "python3", "cmdline": ["python3"]}
    inside, here = Lives([{**born, "pid": 4711, "own_pid": 7}, {**born, "pid": 4712}], kin=None).all
    assert (inside.own_pid, here.own_pid) == (7, 4712)
