"""A process that lends one member's token to many threads at once, as ``shared`` wires it.

``python -m tests.faults.callers REF CALLERS GO`` waits for the file ``GO``, and then writes
which token how many of them got.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import whoop
from shared.bootstrap import build
from shared.config import Settings
from shared.core.model import Ref, Secret
from shared.errors import Busy
from tests.faults import sabotage


def main(ref: Ref, callers: int, go: Path) -> None:
    """Use the token ``callers`` times at once, each until it gets one."""
    sabotage.apply()
    services = build(
        Settings.from_env(os.environ), lambda clock: [whoop.provider(os.environ, clock)]
    )
    tokens = services.slices.tokens
    # Tables are opened and clocks compared before the start, so that all begin together.
    services.ports.connections.by_ref(ref)
    go.with_suffix(f".{os.getpid()}").touch()
    while not go.exists():
        time.sleep(0.01)

    def call(_: int) -> str:
        for _ in range(100):
            try:
                return tokens.use(ref, Secret.reveal)
            except Busy:
                time.sleep(0.1)
        return "gave up"

    with ThreadPoolExecutor(callers) as pool:
        sys.stdout.write(json.dumps(Counter(pool.map(call, range(callers)))))


if __name__ == "__main__":
    main(Ref(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
