"""Writes what storage holds of a member as NDJSON files, read as the API reads it."""

import argparse
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from azure.core.exceptions import AzureError

from dev.azurite import Azurite
from dev.bootstrap import ROOT
from dev.failures import LocalError
from function_app import wearables
from shared.bootstrap import reading
from shared.config import Storage
from shared.core.model import Secret, UserId
from shared.errors import LostRace, Problem, StorageDown
from shared.provider import Provider
from shared.reading import LINES, MOST, FeedPage, Reading, Wish

SETTING = "DataStorage"


class ExportError(LocalError):
    """There is nothing to write, or no way to read it."""


def main(arguments: Sequence[str]) -> int:
    """Write one file for each resource, and say how many lines each has."""
    providers = {one.name: one for one in wearables({}, lambda: datetime.now(UTC))}
    options = _parser(list(providers)).parse_args(arguments)
    provider = providers[options.provider]
    given = options.connection_string or os.environ.get(SETTING)
    with storage(given, ROOT / ".dev") as (string, whose):
        print(f"Reading {whose}.")
        written = export(
            _open(string, provider), provider, options.user, options.to, history=options.history
        )
    for path, lines in written.items():
        print(f"{lines:>8}  {path}")
    return 0


@contextmanager
def storage(given: str | None, work: Path) -> Iterator[tuple[str, str]]:
    """Give a connection string and say whose: the given one, else that of a local stack in `work`.

    One that runs comes first; else it is the newest one that an error has left there.
    """
    if given:
        yield given, "the account that was named"
        return
    stacks = sorted(
        (path.parent for path in work.glob("*/local.settings.json")),
        key=lambda folder: folder.stat().st_mtime,
        reverse=True,
    )
    for folder in stacks:
        string = _said(folder)
        if string and _answers(string):
            yield string, f"the stack that is running in {folder}"
            return
    left = [folder / "storage" for folder in stacks if (folder / "storage" / "table.json").exists()]
    if not left:
        raise ExportError(
            "No local stack is running, and none has left its storage behind: start one with "
            f"`python3 -m dev up`, or name an account with {SETTING} or --connection-string."
        )
    with tempfile.TemporaryDirectory() as copy:
        # What an error left behind is evidence: it is read as a copy.
        shutil.copytree(left[0], copy, dirs_exist_ok=True)
        with Azurite(Path(copy)) as azurite:
            yield azurite.connection_string, f"what a stack has left in {left[0]}"


def export(
    reader: Reading, provider: Provider, user: str, to: Path, *, history: bool
) -> dict[Path, int]:
    """Write each resource into a file in `to`; return how many lines each has.

    A file is complete or is not there: it is written beside its place, and then moved.
    """
    names = [resource.name for resource in provider.resources]
    try:
        if not any(_has_any(reader, provider, user, name) for name in names):
            raise ExportError(f"This storage holds nothing of {user!r} from {provider.title}.")
        to.mkdir(parents=True, exist_ok=True)
        written = {}
        for name in names:
            path = to / f"{name}.ndjson"
            written[path] = _write(path, _pages(reader, provider, user, name, history=history))
    except ValueError as error:
        raise ExportError("The connection string, or the user, cannot be one.") from error
    except Problem as problem:
        raise ExportError(f"{problem.title}: it was erased meanwhile. Run it again.") from problem
    except (StorageDown, LostRace) as error:
        raise ExportError("Storage does not answer, or changes too fast: run it again.") from error
    except AzureError as error:
        code = getattr(error, "error_code", None) or type(error).__name__
        raise ExportError(f"Storage refuses to be read ({code}): check the account.") from error
    return written


def _open(string: str, provider: Provider) -> Reading:
    return reading(Storage(Secret(string)), [provider])


def _has_any(reader: Reading, provider: Provider, user: str, resource: str) -> bool:
    feed = reader.open(UserId(user), provider.name, resource, Wish(limit=1))
    return feed.generation is not None


def _pages(
    reader: Reading, provider: Provider, user: str, resource: str, *, history: bool
) -> Iterator[FeedPage]:
    wish = Wish(limit=MOST[LINES], history=history)
    while True:
        page = reader.read(reader.open(UserId(user), provider.name, resource, wish))
        yield page
        if not page.more:
            return
        wish = Wish(
            limit=wish.limit,
            after=page.cursor,
            history=history,
            generation=page.feed.generation,
        )


def _write(path: Path, pages: Iterator[FeedPage]) -> int:
    # For this user's eyes only, as everything that `tempfile` makes.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    lines = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            for page in pages:
                file.write(page.text(LINES))
                lines += len(page.entries)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return lines


def _said(folder: Path) -> str | None:
    """Read what the stack's app was told of its storage."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads((folder / "local.settings.json").read_text(encoding="utf-8"))
        values: Mapping[str, str] = document["Values"]
        return values[SETTING]
    return None


def _answers(string: str) -> bool:
    """Tell whether anybody listens where the tables should be."""
    found = re.search(r"TableEndpoint=http://127\.0\.0\.1:(\d+)/", string)
    with suppress(OSError):
        if found:
            socket.create_connection(("127.0.0.1", int(found[1])), timeout=2).close()
            return True
    return False


def _parser(providers: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m dev export", description=__doc__)
    parser.add_argument("--user", required=True, help="the member's id at GoToGym")
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="made if missing")
    parser.add_argument("--provider", default=providers[0], choices=providers)
    parser.add_argument(
        "--history", action="store_true", help="every version, and not only the current ones"
    )
    parser.add_argument(
        "--connection-string",
        help=f"of the account to read; without it {SETTING} from the environment, "
        "else the local stack",
    )
    return parser
