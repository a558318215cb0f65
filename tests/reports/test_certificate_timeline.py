"""The timeline of an experiment: what is drawn, what is counted, what is said."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from drainproof.evidence import Evidence
from drainproof.evidence.briefs import Brief
from drainproof.load.ledger import RequestRecord
from drainproof_reports.certificate import crowd, timeline
from drainproof_reports.certificate.drawing import Scale
from drainproof_reports.certificate.lanes import packed
from hypothesis import given
from hypothesis import strategies as st

from tests.reports import drains
from tests.reports.drains import ANSWERED, CUT, at


def drawn(folder: Path, *, room: int = 400, dull: int = 160) -> timeline.Timeline:
    found = timeline.draw(Evidence(folder), room=room, dull=dull)
    assert found is not None
    return found


def test_it_tells_what_became_of_each_group(tmp_path: Path) -> None:
    found = drawn(drains.write(tmp_path))
    for text in ("3 cut off", "4 answered", "6 refused", "15 answered", "SIGTERM", "exit 0", "readiness", "processes"):
        assert f">{text}<" in found.picture, text
    assert found.says == (
        "7 accepted before the fault: 3 cut off, 4 answered · 6 arrived after it: 6 refused · "
        "not ready after 30 ms (503) · port closed after 0.28 s · exit status 0 after 1.00 s"
    )
    assert (found.drawn, found.of) == (13, 28)  # those that had ended before the picture begins are counted alone


def test_a_loss_has_a_shape_of_its_own(tmp_path: Path) -> None:
    picture = drawn(drains.write(tmp_path)).picture
    crosses = re.search(r'<path class="end lost" d="([^"]*)"', picture)
    assert crosses is not None
    assert crosses[1].count("M") == 3
    unscathed = tmp_path / "unscathed"
    assert "end lost" not in drawn(drains.write(unscathed, requests=[at(ANSWERED, 99.0, 101.0)])).picture


def test_a_listener_whose_backlog_changes_still_listens(tmp_path: Path) -> None:
    """Bands of one state are one band, from its first look to its last."""
    picture = drawn(drains.write(tmp_path)).picture
    bands = re.findall(r'<path class="band yes" d="([^"]*)"', picture)
    assert [band.count("M") for band in bands] == [1, 1]


def test_what_is_known_of_a_change_is_between_two_looks(tmp_path: Path) -> None:
    picture = drawn(drains.write(tmp_path)).picture
    assert len(re.findall(r'class="band between"', picture)) == 2


def test_lost_requests_are_drawn_before_all_others(tmp_path: Path) -> None:
    """Of many only some have room, and of those that were lost as many as possible are among them."""
    crowd_ = [at(ANSWERED, 98.0 + n / 1000, 98.01 + n / 1000) for n in range(1900)]
    lost = [at(CUT, 99.0 + n / 50, 100.0) for n in range(20)]
    found = drawn(drains.write(tmp_path, requests=[*crowd_, *lost]), room=50, dull=20)
    assert ">20 cut off<" in found.picture
    assert re.search(r'<path class="end lost" d="([^"]*)"', found.picture)[1].count("M") == 20  # type: ignore[index]
    assert found.of == 1920
    assert 20 < found.drawn <= 40


def test_an_experiment_without_a_fault_or_a_load_has_one_as_well(tmp_path: Path) -> None:
    folder = drains.write(tmp_path, requests=())
    lines = (folder / "timeline.jsonl").read_text().splitlines(keepends=True)
    (folder / "timeline.jsonl").write_text("".join(line for line in lines if '"event":"fault"' not in line))
    found = drawn(folder)
    assert "seconds after the launch" in found.picture
    assert (found.drawn, found.of) == (0, 0)


def test_what_was_never_launched_has_none(tmp_path: Path) -> None:
    folder = drains.write(tmp_path)
    (folder / "timeline.jsonl").write_text(
        '{"t":1.0,"event":"fault","kind":"port_taken","proven":false,"because":"x"}\n'
    )
    assert timeline.draw(Evidence(folder), room=10, dull=10) is None


def test_text_of_a_target_is_escaped_in_a_drawing(tmp_path: Path) -> None:
    picture = drawn(drains.write(tmp_path, kind="<script>alert(1)</script>")).picture
    assert "<script" not in picture
    assert "&lt;script&gt;" in picture


def test_the_picture_of_a_large_ledger_is_no_larger(tmp_path: Path) -> None:
    def many(count: int) -> Iterator[RequestRecord]:
        for number in range(count):
            yield replace(at(ANSWERED, 98.0 + 3 * number / count, 98.5 + 3 * number / count), port=number % 60_000)

    few = len(drawn(drains.write(tmp_path / "few", requests=many(2_000))).picture)
    lots = len(drawn(drains.write(tmp_path / "lots", requests=many(20_000))).picture)
    assert lots < 1.3 * few


# Its parts


briefs = st.lists(
    st.builds(
        Brief,
        st.floats(0, 10),
        st.floats(10, 20),
        st.sampled_from(sorted(crowd.TONES)),
        st.sampled_from(crowd.STANDINGS),
    ),
    max_size=80,
)


@given(briefs)
def test_every_request_is_counted_and_none_twice(found: list[Brief]) -> None:
    groups = crowd.gather(found, room=5, dull=3)
    assert sum(group.count for group in groups) == len(found)
    for group in groups:
        assert len(group.kept) == min(group.count, group.room)
        assert all((brief.standing, brief.fate) == (group.standing, group.fate) for brief in group.kept)


def test_which_are_kept_does_not_depend_on_the_order() -> None:
    found = [Brief(n / 100, n / 100 + 1, "right", "accepted") for n in range(500)]
    shuffled = list(found)
    random.Random(1).shuffle(shuffled)
    assert crowd.gather(found, room=40, dull=1)[0].kept == crowd.gather(shuffled, room=40, dull=1)[0].kept


def test_which_are_kept_is_no_regular_choice() -> None:
    """Each tenth of the time keeps about its share: an early end of the ledger, or a period in it, is not preferred."""
    found = [Brief(n / 1000, n / 1000 + 0.5, "right", "accepted") for n in range(10_000)]
    kept = crowd.gather(found, room=1000, dull=1)[0].kept
    tenths = [sum(int(brief.begun) == tenth for brief in kept) for tenth in range(10)]
    assert min(tenths) > 50


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 20)), max_size=60),
    st.integers(1, 6),
)
def test_bars_of_a_lane_do_not_touch(found: list[tuple[int, int]], most: int) -> None:
    lanes = packed([(float(x), float(x + w)) for x, w in sorted(found)], most=most, gap=1.0)
    assert len(lanes) <= most
    for lane in lanes:
        assert all(earlier[1] + 1.0 <= later[0] for earlier, later in pairwise(lane))


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.001), (-3.0, 7.0), (0.0, 60.0), (-0.2, 901.0), (5.0, 5.0)])
def test_ticks_are_round_and_few(start: float, end: float) -> None:
    ticks = Scale(start=start, end=end, left=0.0, right=1.0).ticks()
    assert len(ticks) <= 12
    assert all(start - 1e-9 <= tick <= end + 1e-9 for tick in ticks)
