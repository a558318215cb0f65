"""History: pure questions to recorded lines."""

from __future__ import annotations

from typing import Any

import pytest
from drainproof.probes.history import History, Interval


def look(t: float, probe: str, value: dict[str, Any], **key: Any) -> dict[str, Any]:
    """A look that began at `t` and took 0.1 s."""
    return {"t0": t, "t": t + 0.1, "probe": probe, **key, "value": value}


def ready(t: float, status: int) -> dict[str, Any]:
    return look(t, "readiness", {"status": status}, path="/ready")


def listening(t: float, *inodes: int, backlog: int = 0) -> dict[str, Any]:
    return look(t, "listener", {"inodes": list(inodes), "addresses": [], "backlog": backlog}, port=80)


def times(found: Interval | None) -> tuple[float, float] | None:
    return None if found is None else (found.earliest, found.latest)


def test_a_change_lies_between_the_begin_of_the_last_old_look_and_the_end_of_the_first_new_one() -> None:
    history = History([ready(1, 200), ready(2, 200), ready(3, 503), ready(4, 503)])
    change = history.first_negative(path="/ready", after=1.5)
    assert change is not None
    assert times(change) == (2, 3.1)
    assert (change.old, change.new) == ({"status": 200}, {"status": 503})


def test_a_look_that_was_under_way_at_the_moment_counts_as_after_it() -> None:
    history = History([ready(1, 200), ready(2, 503)])
    assert times(history.first_negative(path="/ready", after=2.05)) == (1, 2.1)


def test_a_change_that_was_there_already_is_told_with_its_own_time() -> None:
    history = History([ready(1, 200), ready(2, 503), ready(3, 500), ready(9, 500)])
    assert times(history.first_negative(path="/ready", after=5)) == (1, 2.1)


@pytest.mark.parametrize("statuses", [[200, 200], [503, 503], []])
def test_no_change(statuses: list[int]) -> None:
    history = History([ready(t, status) for t, status in enumerate(statuses)])
    assert history.first_negative(path="/ready", after=-1) is None


def test_what_came_back_is_no_longer_so() -> None:
    history = History([ready(1, 200), ready(2, 503), ready(3, 200), ready(8, 200)])
    assert history.first_negative(path="/ready", after=5) is None
    assert times(history.first_negative(path="/ready", after=1)) == (1, 2.1)
    assert times(history.first_positive(path="/ready", after=2)) == (2, 3.1)


def test_failed_looks_of_ours_only_make_the_interval_wider() -> None:
    error = {"t0": 2, "t": 2.1, "probe": "readiness", "path": "/ready", "error": "OSError: no port"}
    history = History([ready(1, 200), error, ready(3, 200), error | {"t0": 4, "t": 4.1}, ready(5, 503)])
    assert times(history.first_negative(path="/ready", after=0)) == (3, 5.1)
    assert len(history.changes(probe="readiness", key="/ready")) == 1
    assert [state.error for state in history.errors(probe="readiness", key="/ready")] == ["OSError: no port"] * 2


def test_listener_closed_and_opened() -> None:
    history = History([listening(1), listening(2, 7), listening(3, 7, backlog=3), listening(4)])
    assert times(history.listener_opened(port=80)) == (1, 2.1)
    assert times(history.listener_closed(port=80, after=3)) == (3, 4.1)
    assert history.listener_closed(port=81, after=0) is None


def test_each_closing_of_a_listening_socket_is_a_loss() -> None:
    history = History(
        [
            listening(1, 7, 8),
            listening(2, 8, 9),
            look(2.5, "holders", {"8": [100, 101], "55": [1]}),
            look(3.5, "holders", {"8": [100], "55": []}),
            listening(4, 9, 8, 10),
            listening(5),
        ]
    )
    losses = history.listener_losses(port=80, after=0)
    assert [times(loss) for loss in losses] == [(1, 2.1), (2.5, 3.6), (4, 5.1)]
    assert [times(loss) for loss in history.listener_losses(port=80, after=3)] == [(2.5, 3.6), (4, 5.1)]


def test_states_and_the_state_at_a_moment() -> None:
    history = History([ready(1, 200), ready(2, 200), ready(3, 503)])
    first, second = history.states(probe="readiness", key="/ready")
    assert (times(first.first), times(first.last), times(second.first)) == ((1, 1.1), (2, 2.1), (3, 3.1))
    assert history.at(probe="readiness", key="/ready", t=1) is None
    assert history.at(probe="readiness", key="/ready", t=3) == first
    assert history.at(probe="readiness", key="/ready", t=3.1) == second
    assert history.keys(probe="readiness") == ("/ready",)


def test_pids_seen_in_a_span_of_time() -> None:
    history = History([look(t, "processes", {"processes": [{"pid": pid}]}) for t, pid in ((1, 10), (2, 11), (3, 12))])
    assert history.pids() == {10, 11, 12}
    assert history.pids(after=2.05, before=2.5) == {11}


def test_a_probe_that_does_not_apply() -> None:
    history = History([{"t0": 1, "t": 1, "probe": "liveness", "path": None, "unsupported": "no path"}])
    assert history.unsupported(probe="liveness") == "no path"
    assert history.unsupported(probe="readiness") is None
    assert history.states(probe="liveness") == ()
