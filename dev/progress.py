"""Tells whoever waits what is being done and for how long; standard library only."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: Where no terminal redraws a line (a CI log), a long step says this often that it is alive.
HEARTBEAT_SECONDS = 15.0
_REDRAW_SECONDS = 0.2


class Step:
    """One thing that takes a while; `detail` is shown behind its name while it runs."""

    def __init__(self, what: str, out: TextIO) -> None:
        self.detail = ""
        self._what = what
        self._out = out
        self._live = out.isatty()
        self._began = time.monotonic()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Show the step as running."""
        if not self._live:
            self._say(f"{self._what} ...\n")
        self._ticker.start()

    def end(self, outcome: str) -> None:
        """Show how it ended."""
        self._over.set()
        self._ticker.join()
        start = "\r\x1b[K" if self._live else ""
        self._say(f"{start}{self._what}: {outcome} ({self.elapsed:.1f} s)\n")

    def _tick(self) -> None:
        while not self._over.wait(_REDRAW_SECONDS if self._live else HEARTBEAT_SECONDS):
            line = f"{self._what} ... {self.elapsed:.0f} s {self.detail}"
            self._say(f"\r\x1b[K{line[:110]}" if self._live else f"{line}\n")

    def _say(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


@contextmanager
def step(what: str, out: TextIO | None = None) -> Iterator[Step]:
    """Show `what` as running until the block ends, then as done, failed or interrupted.

    On standard error, so that what a verb prints can be piped into another program.
    """
    shown = Step(what, sys.stderr if out is None else out)
    shown.begin()
    try:
        yield shown
    except KeyboardInterrupt:
        shown.end("interrupted")
        raise
    except BaseException:
        shown.end("failed")
        raise
    shown.end("done")
