"""The forms in which WHOOP answers: JSON when it went well, mostly plain text otherwise."""

import json
from typing import Any

from werkzeug import Response
from werkzeug.http import HTTP_STATUS_CODES


def of_json(document: Any, status: int = 200) -> Response:
    """Answer with ``document``, letters beyond ASCII as they are."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, content_type="application/json")


def of_status(status: int) -> Response:
    """Answer as WHOOP does when it has nothing but a status to give."""
    match status:
        case 401:
            # Live, and not JSON: a client that parses first loses the reason.
            return of_text("Authorization was not valid", 401)
        case 429:
            return of_json({"message": "Too Many Requests"}, 429)
        case 204:
            return Response(status=204)
        case _:
            name = HTTP_STATUS_CODES.get(status, "Unknown")
            return of_text(f"HTTP {status} {name}", status)


def of_text(text: str, status: int) -> Response:
    """Answer with plain text."""
    return Response(text, status, content_type="text/plain;charset=utf-8")
