"""Runs a module as `python -m` does, and ends it when the process that started it is gone.

Whoever is killed cannot end its children; but the pipe to their standard input closes with it.
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run the module that the first argument names, with the arguments that follow."""
    threading.Thread(target=_watch, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _watch() -> None:
    while os.read(0, 1024):
        pass
    # The way it is asked to end at any other time; on Windows this ends it at once.
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
