"""A real browser for tests: Chromium, headless; what a page says, asks for and throws is kept."""

import os
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = os.environ.get("VUGRAD_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def opened(path, width=1400, height=800, **options):
    """A page of a file or address; the test is skipped, saying so, where there is no browser."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: pages are not tested in a browser")
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.complaints = []
        address = path if isinstance(path, str) else path.absolute().as_uri()
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(address[:16]) else page.complaints.append(request.url),
        )
        page.set_default_timeout(10_000)
        page.goto(address)
        yield page
        assert page.complaints == []
        browser.close()
