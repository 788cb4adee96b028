"""Shows the settings page in every state: one PNG each."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dev import browser, page_server
from dev.bootstrap import ROOT
from dev.browser.driving import driven
from dev.children import free_ports
from dev.failures import LocalError
from dev.page_server import PAGE, Site
from dev.scenes import LOCALE, SCENES, TIMEZONE, play

FOLDER = ROOT / ".dev" / "screenshots"


class NoBrowserError(LocalError):
    """There is no browser on this machine, and npm has none for it."""

    def __init__(self) -> None:
        super().__init__(
            "There is no browser: install Chrome, Chromium or Edge, or let "
            f"{browser.CHOICE} name the program of one."
        )


def main(arguments: Sequence[str]) -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="python3 -m dev screenshots", description=__doc__)
    parser.add_argument("--to", type=Path, default=FOLDER, help="default: .dev/screenshots")
    parser.add_argument("names", nargs="*", help="of states; default: all of them")
    options = parser.parse_args(arguments)
    found = browser.find(os.environ)
    if found is None:
        raise NoBrowserError
    options.to.mkdir(parents=True, exist_ok=True)
    port, nobody = free_ports(2)
    api = f"http://localhost:{nobody}"
    with page_server.serve(Site(api, {}), port), driven(found) as running:
        for scene in SCENES:
            if options.names and scene.name not in options.names:
                continue
            width, height = scene.size
            with running.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scene.is_dark else "light",
                reduced_motion="reduce",
                locale=LOCALE,
                timezone_id=TIMEZONE,
            ) as context:
                page = context.new_page()
                play(scene, page, f"http://localhost:{port}{PAGE}", api)
                # A dialog covers the window, and a picture of more than that would show its edge.
                whole = not page.locator("dialog").count()
                page.screenshot(path=options.to / f"{scene.name}.png", full_page=whole)
            Console().print(f"{options.to / scene.name}.png", markup=False, soft_wrap=True)
    return 0
