"""Starts a browser, and drives it through Playwright."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser as Driven
from playwright.sync_api import sync_playwright

from dev.browser import Browser

#: Nothing in it reaches anything but this machine, nor through a proxy.
_STAY = (
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


@contextmanager
def driven(browser: Browser) -> Iterator[Driven]:
    """Run `browser`, without a window, for as long as the block."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browser.program,
            args=[*browser.arguments, *_STAY],
            env={**os.environ, **browser.variables},
        )
        try:
            yield running
        finally:
            running.close()
