"""What malformed input may be answered, what a series of readings says, and what the docs say about both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drainproof.faults.bad_clients.leaks import MEMORY, SPARE, found, memory_steps
from drainproof.faults.bad_clients.rules import RULES, failing, what_is_wrong

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "bad-clients.md"


def line(kind: str, outcome: str = "answered", status: int | None = None, **more: Any) -> dict[str, Any]:
    common = {"class": kind, "outcome": outcome, "status": status, "wrong": None, "token": True, "counts": True}
    return {**common, "parts": [["eA==", 1]], **more}


@pytest.mark.parametrize("kind", RULES)
def test_a_4xx_is_always_right_and_a_500_never(kind: str) -> None:
    assert what_is_wrong(line(kind, status=400)) is None
    assert what_is_wrong(line(kind, status=422)) is None
    assert what_is_wrong(line(kind, status=500)) == "answered 500"
    assert what_is_wrong(line(kind, "hung")) == "neither answered nor closed"
    assert what_is_wrong(line(kind, "refused")) == "no connection any more"


@pytest.mark.parametrize("kind", RULES)
def test_silence_is_wrong_only_within_well_formed_http(kind: str) -> None:
    for ending in ("closed", "reset", "unreadable"):
        assert (what_is_wrong(line(kind, ending)) is not None) == RULES[kind].framed


def test_what_http_itself_asks_for_is_right() -> None:
    assert what_is_wrong(line("transfer-coding", status=501)) is None
    assert what_is_wrong(line("method", status=501)) is None
    assert what_is_wrong(line("request-line", status=505)) is None
    assert what_is_wrong(line("method", status=505)) == "answered 505"


def test_a_success_must_be_one() -> None:
    assert what_is_wrong(line("truncated-body", status=200)) is not None
    assert what_is_wrong(line("json-syntax", status=200)) is None, "an endpoint may take any bytes"
    assert what_is_wrong(line("json-syntax", status=200, wrong="the body is not JSON")) is not None
    assert what_is_wrong(line("json-syntax", status=200, wrong="no token", token=False)) is None, (
        "it could not be right"
    )
    assert what_is_wrong(line("json-shape", status=200, wrong="no token")) is None, "it may be valid to this server"


def test_the_smallest_case_of_a_class_is_shown() -> None:
    lines = [
        line("utf-8", status=500, case=1, parts=[["eA==", 9]]),
        line("utf-8", status=500, case=2, parts=[["eA==", 2]]),
        line("utf-8", "closed", case=3, parts=[["eA==", 1]]),
        line("utf-8", status=500, case=4, counts=False),
        line("method", status=400, case=5),
    ]
    wrong = failing(lines)
    assert list(wrong) == ["utf-8"]
    assert wrong["utf-8"][0] == "answered 500" and wrong["utf-8"][1]["case"] == 2


def test_the_page_has_every_class_with_its_source() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(" `"): row for row in text.splitlines() if row.startswith("| `")}
    assert list(rows) == list(RULES)
    for rule in RULES.values():
        assert rule.source in rows[rule.name] and rule.what in rows[rule.name]
        assert all(str(status) in rows[rule.name] for status in rule.allowed)


# ---- Leaks

ROUND = 200


def series(memory: list[float], descriptors: list[int], *, rounds: int = 5) -> list[dict[str, Any]]:
    """Readings whose memory grows by so many bytes per client in each round; descriptors at rest, block by block."""
    readings: list[dict[str, Any]] = []
    total = 30e6
    for number in range(len(memory) + 1):
        total += memory[number - 1] * ROUND if number else 0
        readings.append(
            {
                "round": number,
                "vanished": ROUND * (number + 1),
                "at_rest": number % rounds == 0,
                "descriptors": descriptors[number // rounds] if number % rounds == 0 else 500,
                "threads": 1,
                "memory": int(total),
            }
        )
    return readings


@pytest.mark.parametrize(
    "memory",
    [
        [1434, 1802, 40387, 840, 471],  # one large answer that the allocator keeps
        [3297, 3133, 3461, 3523, 3092],  # cycles that the collector has not looked at yet
        [2683, 6103, 6328, 6267, 881],  # connections that are held until their keep-alive time-out
        [66109, 0, 0, 0, 0],
        [158925, 942, 1004, -50524, -73257],
        [9000, 9000, 9000, 9000, 9000, 1000, 1000, 40000, 1000, 1000],
        [9000, 9000, 9000, 9000, 9000, 12000, 12000, 12000, 12000, -30000],
        [20000] * 10 + [0] * 5,
    ],
)
def test_servers_that_leak_nothing(memory: list[float]) -> None:
    assert found(series(memory, [9] * 5)) == {}


def test_memory_that_grows_with_the_clients_is_a_leak() -> None:
    readings = series([2 * MEMORY] * 20, [9] * 5)
    assert set(found(readings)) == {"memory"} and "16.0 KiB" in found(readings)["memory"]
    assert memory_steps(readings) == [2 * MEMORY] * 20


def test_a_leak_may_begin_in_what_the_allocator_has_to_spare() -> None:
    begin = [3912, 27156, 24719, 17306, 27279]
    assert set(found(series(begin, [7, 6]))) == {"memory"}, "worth another block"
    assert set(found(series([*begin, 26000, 0, 26000, 26000, 26000], [7, 6, 6]))) == {"memory"}
    moved = [27668, 27608, 53699, -12165, 42086]  # 8 MB were kept for a while
    assert set(found(series(moved * 4, [6] * 5))) == {"memory"}


def test_descriptors_that_grow_with_every_block_are_a_leak() -> None:
    assert found(series([0] * 10, [9, 400, 800])) == {"descriptors": "9 descriptors became 800"}
    assert found(series([0] * 10, [9, 400, 401])) == {}, "a pool that has been filled"
    assert found(series([0] * 5, [9, 9 + SPARE])) == {}
    assert found([]) == {} and found(series([], [9])) == {}
