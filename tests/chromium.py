"""Opens a file in a headless Chromium and records its messages and requests.

Install your system's Chromium (`apt install chromium`), or set PATHJAX_CHROMIUM to its
path; playwright drives it.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "PATHJAX_CHROMIUM"


def find_chromium() -> str:
    """Path of the browser; skips the test where there is none."""
    named = os.environ.get(VARIABLE)
    path = next(filter(None, map(shutil.which, (named,) if named else NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium: install one, or set {VARIABLE} to its path")
    return path


@contextlib.contextmanager
def launched() -> Iterator:
    """A running browser of playwright; skips the test where either is missing."""
    path = find_chromium()
    playwright = pytest.importorskip("playwright.sync_api")
    # Chromium's sandbox refuses to run as root, as containers do; the page is our own.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if root else []
        )
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser, path: Path, *, width: int = 1200, height: int = 900, **context):
    """Opens a file in a new tab and waits until it is drawn.

    Returns:
      The tab; `logged` lists console messages and errors, `requested` the URLs.
    """
    viewport = {"width": width, "height": height}
    tab = browser.new_context(viewport=viewport, **context).new_page()
    tab.logged, tab.requested = [], []
    tab.on("console", lambda message: tab.logged.append(message.text))
    tab.on("pageerror", lambda error: tab.logged.append(str(error)))
    tab.on("request", lambda request: tab.requested.append(request.url))
    tab.goto(Path(path).resolve().as_uri())
    tab.wait_for_selector("html[data-ready]", state="attached")
    return tab
