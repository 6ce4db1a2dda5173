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
    address = path if isinstance(path, str) else path.absolute().as_uri()
    own = address if address.startswith("file:") else "/".join(address.split("/")[:3])
    complaints = []
    page = started().new_page(viewport={"width": width, "height": height}, **options)
    try:
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(own) or complaints.append(request.url))
        page.set_default_timeout(60_000)
        page.goto(address)
        yield page
        assert complaints == []
    finally:
        page.close()


_running = []


def started():
    """The browser, which the tests of a module share."""
    if not _running:
        playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
        arguments = ["--no-sandbox", "--disable-background-networking"]
        _running.extend([playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)])
    return _running[1]


def stop():
    """End the browser, if one runs, and the event loop that it takes: others of this thread need their own."""
    if _running:
        playwright, browser = _running
        _running.clear()
        browser.close()
        playwright.stop()
