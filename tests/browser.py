"""A real browser for tests: Chromium, headless; what a page says, asks for and throws is kept."""

import functools
import os
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = os.environ.get("VUGRAD_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")


@functools.cache
def running():
    """Playwright and a browser, for all tests of a module: it takes longer to start than a page to be looked at."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: pages are not tested in a browser")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    arguments = ["--no-sandbox", "--disable-background-networking"]
    return playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


def teardown_module():
    """End it. A module imports this with ``opened``: an event loop that goes on would be in the way of others."""
    if running.cache_info().currsize:
        playwright, browser = running()
        browser.close()
        playwright.stop()
        running.cache_clear()


@contextmanager
def opened(path, width=1400, height=800, **options):
    """A page of a file or address; the test is skipped, saying so, where there is no browser.

    A page complains of nothing, and asks for nothing but what it is served with.
    """
    address = path if isinstance(path, str) else path.absolute().as_uri()
    own = address if address.startswith("file:") else "/".join(address.split("/")[:3])
    complaints = []
    page = running()[1].new_page(viewport={"width": width, "height": height}, **options)
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
