import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from dev.simulator import Options
from tests.simulator.visitor import CLIENT_SECRET

FOLDER = Path(__file__).parents[2] / "dev" / "simulator"


@pytest.mark.parametrize(
    "settings",
    [
        {"windows": "rolling"},
        {"missing_scope_status": 404},
        {"per_minute": 0},
        {"day_seconds": 0},
        {"latency": -1},
        {"redirect_uris": ()},
        {"webhook_timeout": 0},
        {"webhook_threads": 0},
        {"hour_seconds": 0},
    ],
)
def test_impossible_options_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings)).split("_")[0]):
        Options("an-app", CLIENT_SECRET, **settings)


def test_options_do_not_show_the_secret() -> None:
    assert CLIENT_SECRET not in repr(Options("an-app", CLIENT_SECRET))


def test_the_witness_knows_nothing_of_ours() -> None:
    imported = {
        name.split(".")[0] if not name.startswith("dev.") else ".".join(name.split(".")[:2])
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert imported - set(sys.stdlib_module_names) == {"werkzeug", "dev.simulator"}
