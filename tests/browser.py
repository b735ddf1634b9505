"""A headless browser, for tests that look at pages as a reader does.

tests/conftest.py takes the fixtures over. The first test that asks for one starts the browser; without one on the
machine these tests are skipped, in continuous integration they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, Request, Response, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
MISSING = (
    "These tests need a Chromium: install the package chromium or google-chrome, "
    "or run `.venv/bin/python -m playwright install chromium`"
)
# A browser that calls nobody but the page's own server.
FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


SLOW = 120_000  # milliseconds: what is late on a busy machine is not missing


@dataclass
class Visits:
    """What the pages of a test have asked for, and what went wrong in them."""

    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def hosts(self) -> set[str]:
        """``host:port`` of all that was asked for through the network; files and data URLs have none."""
        return {urlsplit(url).netloc for url in self.requests if urlsplit(url).scheme in {"http", "https", "ws", "wss"}}

    def watch(self, page: Page) -> None:
        """Note what this page asks for from now on."""
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._request_failed)
        page.on("response", self._response)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the reader went on before it was there
            self.failed.append(f"{request.failure} {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


def find_browser(playwright: Playwright) -> str | None:
    """The path of a Chromium: the machine's own, else the one that Playwright has installed, else None."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and Path(playwright.chromium.executable_path).is_file():
        found = playwright.chromium.executable_path
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One headless Chromium for the tests of a file; without one they are skipped, under CI failed.

    No longer than that: while Playwright runs, no other test of the process can run an event loop.
    """
    with sync_playwright() as playwright:
        path = find_browser(playwright)
        needed = os.environ.get("REQUIRE_BROWSER") or ("1" if os.environ.get("CI") else "0")
        do_without = pytest.fail if needed == "1" else pytest.skip
        if path is None:
            do_without(MISSING)
        as_root = hasattr(os, "geteuid") and os.geteuid() == 0
        flags = [*FLAGS, "--no-sandbox"] if as_root else list(FLAGS)
        try:
            started = playwright.chromium.launch(
                executable_path=path, args=flags, chromium_sandbox=not as_root, timeout=SLOW
            )
        except Error as error:
            do_without(f"{path} does not start: {error}")
        yield started
        started.close()


@pytest.fixture
def visits() -> Visits:
    """What the test's page asks for, and what goes wrong in it."""
    return Visits()


@pytest.fixture
def page(browser: Browser, visits: Visits) -> Iterator[Page]:
    """An empty page without cookies or history of other tests; ``visits`` tells what it did."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SLOW)
    opened = context.new_page()
    visits.watch(opened)
    yield opened
    context.close()
