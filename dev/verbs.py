"""The verbs of `python3 -m dev`: what each needs installed, and where its code is."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from dev import bootstrap
from dev.failures import LocalError, explain_os_error


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing to ask for; `code` is the module and the function that do it."""

    code: str
    says: str
    layer: str
    with_node: bool = True
    with_browser: bool = False


VERBS = {
    "demo": Verb("dev.demo:main", "run the main job end to end and show the result", "run"),
    "up": Verb("dev.up:main", "run everything, with a page to click through", "run"),
    "export": Verb("dev.export:main", "write a member's raw records as NDJSON files", "run"),
    "test": Verb(
        "dev.checks:test",
        "run the tests; arguments go to pytest, but --gate",
        "test",
        with_browser=True,
    ),
    "screenshots": Verb(
        "dev.screenshots:main",
        "show the page in every state (--to DIR)",
        "test",
        with_browser=True,
    ),
    "check": Verb(
        "dev.checks:check", "run linters, types, import contracts", "check", with_node=False
    ),
    "lock": Verb("dev.lock:main", "make the lock files anew (--upgrade: newer versions)", "check"),
}


def main(arguments: Sequence[str]) -> int:
    """Run a verb, inside the environment that it needs."""
    verb = VERBS.get(arguments[0]) if arguments else None
    if verb is None:
        asked_for_help = not arguments or arguments[0] in {"-h", "--help", "help"}
        (sys.stdout if asked_for_help else sys.stderr).write(usage(arguments))
        return 0 if asked_for_help else 2
    env = bootstrap.environment(os.environ)
    try:
        bootstrap.ensure(env, verb.layer, with_node=verb.with_node, with_browser=verb.with_browser)
        if not env.is_entered():
            bootstrap.enter(env, arguments)
    except LocalError as error:
        return _fail(_told(error))
    except OSError as error:
        return _fail(explain_os_error(error))
    except KeyboardInterrupt:
        return _fail("Interrupted; the next run mends what is half done.", 130)
    os.environ.pop("DEV_ENTERED", None)  # a verb may start us again
    module, _, function = verb.code.partition(":")
    run = getattr(import_module(module), function)
    try:
        return int(run(arguments[1:]))
    except LocalError as error:
        return _fail(_told(error))
    except KeyboardInterrupt:
        return 130


def usage(arguments: Sequence[str]) -> str:
    """Say what can be asked for."""
    wrong = f"There is no verb `{arguments[0]}`.\n" if arguments and arguments[0][0] != "-" else ""
    verbs = "\n".join(f"  {name:<13}{verb.says}" for name, verb in VERBS.items())
    return f"{wrong}python3 -m dev VERB [arguments]\n\n{verbs}\n"


def _told(error: LocalError) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def _fail(message: str, code: int = 1) -> int:
    sys.stderr.write(f"python3 -m dev: {message}\n")
    return code
