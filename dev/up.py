"""Runs everything, with a page to click through, until Ctrl-C."""

import argparse
import time
from collections.abc import Sequence

from rich.console import Console

from dev import page_server
from dev.children import ending_on_signals, free_ports, require_free
from dev.page_server import SIGN_IN, Site
from dev.stack import USER, Ports, Stack, World, scratch_folder, world_options

#: The ports of `func start` and Azurite, so that other tools find us where they look.
DEFAULTS = {"api": 7071, "page": 8080, "simulator": 7072, "queue": 10001, "table": 10002}


def main(arguments: Sequence[str]) -> int:
    """Run until Ctrl-C."""
    options = _parser().parse_args(arguments)
    ports = choose(vars(options))
    console = Console()
    try:
        with (
            scratch_folder("up") as folder,
            ending_on_signals(),
            Stack(
                folder, ports, World(options.members, options.days, hosts=options.hosts)
            ) as stack,
            page_server.serve(Site(stack.api, tokens(stack)), ports.page),
        ):
            for name, address in addresses(stack).items():
                console.print(f"{name:<11}{address}", soft_wrap=True, markup=False)
            console.print("Ctrl-C ends everything.")
            while True:
                stack.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("Everything has ended.")
    return 0


def choose(asked: dict[str, int]) -> Ports:
    """Take the ports that were asked for, if they are free; 0 becomes any free one."""
    chosen = {}
    for name in DEFAULTS:
        port = asked[f"{name}_port"]
        if port:
            require_free(port, f"the {name}", f"--{name}-port")
        chosen[name] = port
    missing = [name for name, port in chosen.items() if not port]
    return Ports(**{**chosen, **dict(zip(missing, free_ports(len(missing)), strict=True))})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m dev up", description=__doc__, parents=[world_options()]
    )
    for name, port in DEFAULTS.items():
        parser.add_argument(
            f"--{name}-port", type=int, default=port, help=f"default {port}; 0 is any free one"
        )
    return parser


def tokens(stack: Stack) -> dict[str, str]:
    """Issue a token for each of the made-up members."""
    users = [USER.format(number) for number in range(1, stack.world.members + 1)]
    return {user: stack.token(user) for user in users}


def addresses(stack: Stack) -> dict[str, str]:
    """Say where everything is."""
    return {
        "page": stack.page,
        "sign-in": f"http://localhost:{stack.ports.page}{SIGN_IN}",
        "API": stack.api,
        "simulator": stack.simulator,
        "storage": stack.storage,
    }
