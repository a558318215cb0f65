"""A page in a real browser without a head: Chromium of the system, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def installed() -> str:
    """The browser of this machine. Skips where there is none; `.ci/run` installs one."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"there is no browser here: none of {', '.join(NAMES)}")
    return found


@dataclass
class Look:
    """A page that was loaded, and everything that it did besides."""

    page: Any
    happened: list[str] = field(default_factory=list)
    """Requests, messages on the console, errors, dialogs."""

    def box(self, selector: str) -> dict[str, float]:
        """Where an element is."""
        box = self.page.locator(selector).first.bounding_box()
        assert box is not None, f"{selector} is not shown"
        found: dict[str, float] = box
        return found

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return int(wide)


@contextmanager
def looking(file: Path, *, width: int = 1280, scripts: bool = True, scheme: str = "light") -> Iterator[Look]:
    """Loads a file as a user does."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that root in a container lacks; the page has none to take.
        browser = playwright.chromium.launch(executable_path=installed(), args=["--no-sandbox"])
        try:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, java_script_enabled=scripts, color_scheme=scheme
            )
            page = context.new_page()
            look = Look(page)
            page.on("request", lambda request: look.happened.append(f"request {request.url}"))
            page.on("console", lambda message: look.happened.append(f"console {message.text}"))
            page.on("pageerror", lambda error: look.happened.append(f"error {error}"))
            page.on("dialog", lambda dialog: (look.happened.append(f"dialog {dialog.message}"), dialog.dismiss()))
            page.goto(file.as_uri())
            look.happened.remove(f"request {file.as_uri()}")
            yield look
        finally:
            browser.close()
