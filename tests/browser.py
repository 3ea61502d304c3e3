"""The system's Chromium, without a window, for tests: Playwright opens pages, points, types and presses keys.

Chromium is the one that scripts/test_services.sh installs; Playwright's own browsers are not fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import ConsoleMessage, Error, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = "no Chromium on PATH (Debian: apt-get install chromium)"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
# What the console says of an answer that is not 2xx: the page's own matter, not a fault of its script.
REFUSED = "Failed to load resource"


@contextmanager
def new_page(width: int = 1200, height: int = 900, *, dark: bool = False) -> Iterator[Page]:
    """A page in a browser of its own.

    Fails at the end where a script of the page threw, or wrote an error or a warning to the console.
    """
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and REFUSED not in message.text:
            complaints.append(message.text)

    def thrown(error: Error) -> None:
        complaints.append(str(error))

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            page.on("console", note)
            page.on("pageerror", thrown)
            yield page
        finally:
            browser.close()
    assert complaints == []
