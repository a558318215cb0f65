"""A certificate as a parser sees it."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

from drainproof.verdict import Results
from drainproof_reports import certificate

VOID = {"meta", "br", "img", "link", "hr", "input", "base"}


class Seen(html.parser.HTMLParser):
    """A page as a parser sees it: whether its elements nest, its ids, its links, its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and not (tag in ("dt", "dd", "li", "p", "tr", "td", "th") and tag not in self.open):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def seen(results: Results, folder: Path) -> Seen:
    """The certificate of `results`, written to the report folder, and sound as a page."""
    certificate.write(results, folder)
    page = Seen((folder / certificate.FILE).read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} <= set(page.ids)
    return page
