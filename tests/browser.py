"""A real browser for tests: Chromium, headless; what a page says, asks for and throws is kept."""

import os
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = os.environ.get("VUGRAD_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def opened(path, width=1400, height=800, **options):
    """A page of a file or address; the test is skipped, saying so, where there is no browser.

    A page complains of nothing, and asks for nothing but what it is served with.
    """
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: pages are not tested in a browser")
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    address = path if isinstance(path, str) else path.absolute().as_uri()
    own = address if address.startswith("file:") else "/".join(address.split("/")[:3])
    complaints = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(own) or complaints.append(request.url))
        page.set_default_timeout(10_000)
        page.goto(address)
        yield page
        assert complaints == []
        browser.close()
