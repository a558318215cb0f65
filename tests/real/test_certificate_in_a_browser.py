"""The certificate in Chromium: of a drain, and of a server that wants to harm whoever shows it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from drainproof.text import ESCAPE_SEQUENCE, UNPRINTABLE
from drainproof_reports import certificate

from tests.real.browser import Look, looking
from tests.real.runs import SERVERS, Run, run
from tests.reports import drains
from tests.reports.drains import verdict

pytestmark = pytest.mark.real

EVERY_TEXT = """() => {
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        const element = node.parentElement;
        const style = getComputedStyle(element);
        const text = node.textContent.trim();
        const folded = element.closest('details:not([open]) > :not(summary)');
        if (!text || folded || !element.getClientRects().length) continue;
        let under = element;
        while (under && getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement;
        const ground = under ? getComputedStyle(under).backgroundColor : 'rgb(255, 255, 255)';
        found.push([text.slice(0, 40), element.closest('svg') ? style.fill : style.color, ground]);
    }
    return found;
}"""

BOXES = """selector => [...document.querySelectorAll(selector)].map(e => {
    const b = e.getBoundingClientRect();
    return [e.textContent, b.left, b.top, b.right, b.bottom];
})"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a server whose output, file names and own name are made to do harm."""
    folder = tmp_path_factory.mktemp("hostile")
    which = "TestStopUnderLoad and SIGTERM-main-1w"
    return run(SERVERS / "hostile", report=folder / "report", arguments=["-k", which, "--color=no"])


@pytest.fixture(scope="module")
def drain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of a made-up run with something of everything in it."""
    folder = tmp_path_factory.mktemp("drain")
    drains.write(folder / "evidence" / "now" / "drain")
    schedule = {"observed_s": [0.4, 0.8], "declared_s": [0.4, 0.8]}
    classes = [f"drain.TestSituation{letter}" for letter in "ABCDEFGHIJKL"]
    results = drains.results(
        verdict(),
        verdict(requirement="EXIT-1", verdict="pass", check="test_exit_status", summary="exit status 0"),
        verdict(requirement="WORK-4", verdict="note", scenario="workers.TestDies[2w]", facts=schedule, evidence=None),
        verdict(requirement="DRAIN-3", verdict="inconclusive", scenario="drain.TestIdle[1w]", evidence=None),
        *(
            verdict(requirement="DRAIN-2", verdict="pass", scenario=f"{name}[{number}w]", evidence=None)
            for name in classes
            for number in range(8)
        ),
        command="pytest " + "--a-rather-long-option=" + "x" * 200,
    )
    certificate.write(results, folder)
    return folder / certificate.FILE


@pytest.fixture(params=["light", "dark"])
def look(request: pytest.FixtureRequest, drain: Path) -> Iterator[Look]:
    with looking(drain, scheme=request.param) as found:
        yield found


def test_nothing_of_a_hostile_server_runs_or_loads(hostile: Run) -> None:
    assert hostile.by_requirement("fail") == {"EXIT-4", "EXIT-5"}, hostile.explain()
    with looking(hostile.report / certificate.FILE) as look:
        look.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
        look.page.wait_for_load_state("networkidle")
        assert look.happened == []
        assert look.page.title() == "hostile <script>document.title='harmed'</script>: not conforming"
        assert look.page.locator("script, img, iframe, object, link, form").count() == 0
        assert look.overflow() <= 0
        text = look.page.locator("body").inner_text()
        assert not UNPRINTABLE.search(text.replace("\n", "").replace("\t", ""))
        assert "<img src=http://harm.invalid/x onerror=document.title=1>" in text
        for shown in (
            "no UTF-8: \\udcff\\udcfe",
            "\\u202egnp.exe\\u202c",
            "red  cleared  link \\udc9b31m",
            "</pre></details>",
            "{{ 7 * 7 }}",
        ):
            assert shown in text


def test_a_hostile_server_harms_neither_terminal_nor_junit_nor_the_size_of_the_page(hostile: Run) -> None:
    assert not ESCAPE_SEQUENCE.search(hostile.output)
    assert not UNPRINTABLE.search(hostile.output.replace("\n", ""))
    assert max(map(len, hostile.output.splitlines())) < 1000
    assert ET.parse(hostile.report / "junit.xml").getroot().iter("testcase")
    assert (hostile.report / certificate.FILE).stat().st_size < 500_000


def test_what_matters_is_on_the_first_screen(look: Look) -> None:
    for selector in ("h1", ".overall", ".sentence", ".tiles", "#broken .findings li"):
        box = look.box(selector)
        assert box["y"] + box["height"] <= 900, selector
        assert box["width"] > 100
    assert look.happened == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts on", "scripts off"])
def test_it_is_no_wider_than_its_window(drain: Path, width: int, scripts: bool) -> None:
    with looking(drain, width=width, scripts=scripts) as look:
        assert look.overflow() <= 0
        assert look.page.locator("#x1 svg.timeline").is_visible()
        assert look.page.locator("table.grid").count() == 3
        look.page.locator("#x2 > summary").click()
        assert look.page.locator("#x2 table.judged").is_visible()
        assert look.happened == []


def test_it_can_be_printed_without_losing_a_column(drain: Path) -> None:
    with looking(drain, width=700) as look:  # A4, less its margins
        look.page.emulate_media(media="print")
        assert look.overflow() <= 0
        assert look.page.pdf(format="A4")[:4] == b"%PDF"


def test_a_field_of_the_grid_opens_what_it_is_about(drain: Path) -> None:
    with looking(drain) as look:
        field = look.page.locator("table.grid a.sign.inconclusive").first
        target = field.get_attribute("href")
        assert not look.page.locator(f"[id='{target[1:]}']").is_visible()
        field.click()
        assert look.page.locator(f"[id='{target[1:]}']").is_visible()


def test_every_text_stands_out_from_its_ground(look: Look) -> None:
    """4.5 to 1, as WCAG 2 has it (AA); light and dark."""
    faint = [
        (text, round(ratio, 2))
        for text, ink, ground in look.page.evaluate(EVERY_TEXT)
        if (ratio := contrast(ink, ground)) < 4.5
    ]
    assert faint == []


def test_light_and_dark_are_two(drain: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        with looking(drain, scheme=scheme) as look:
            grounds.append(look.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert luminance(grounds[0]) > 0.8
    assert luminance(grounds[1]) < 0.05


@pytest.mark.parametrize("drawing", [".timeline", "#exits svg", "#schedules svg"])
def test_no_two_labels_of_a_drawing_overlap(drain: Path, drawing: str) -> None:
    with looking(drain) as look:
        labels = look.page.evaluate(BOXES, f"{drawing} text")
        assert len(labels) > 4
        for one, other in combinations(labels, 2):
            assert not overlap(one, other), (one, other)


def overlap(one: list[Any], other: list[Any]) -> bool:
    """More than the rounding of a pixel."""
    return bool(min(one[3], other[3]) - max(one[1], other[1]) > 1 and min(one[4], other[4]) - max(one[2], other[2]) > 3)


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(…)`."""
    red, green, blue = (float(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(","))
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
