"""Answers HTTP requests: CORS, admin routes, keys, then the function whose route fits."""

import hmac
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass

from werkzeug.wrappers import Request, Response

from dev.host import bindings, cors, routes
from dev.host.admin import Admin
from dev.host.cors import Cors
from dev.host.functions import Function, HttpTrigger, Level
from dev.host.invoking import Invoker
from dev.host.routes import Entry, Found, Unknown, WrongMethod

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Web:
    """The HTTP side of a running host."""

    entries: Sequence[Entry[Function]]
    invoker: Invoker
    admin: Admin
    cors: Cors
    master_key: str | None

    def reply(self, request: Request) -> Response:
        """Answer ``request``."""
        if cors.is_preflight(self.cors, request.method, request.headers):
            return Response(status=204, headers=cors.preflight_headers(self.cors, request.headers))
        path = routes.split(_raw_path(request))
        if path and path[0].lower() == "admin":
            return self.admin.reply(request, path[1:])
        response = self._route(request, path)
        for name, value in cors.answer_headers(self.cors, request.headers).items():
            if name == "Vary":
                response.vary.add(value)
            else:
                response.headers[name] = value
        return response

    def _route(self, request: Request, path: Sequence[str]) -> Response:
        match routes.choose(self.entries, request.method, path):
            case Found(function, params):
                if not self._may_call(request, function):
                    return Response(status=401)
                return self._call(request, function, path, params)
            case WrongMethod(allow):
                return Response(status=405, headers={"Allow": ", ".join(sorted(allow))})
            case Unknown():
                return Response(status=404)

    def _may_call(self, request: Request, function: Function) -> bool:
        if isinstance(function.trigger, HttpTrigger) and function.trigger.level is Level.ANONYMOUS:
            return True
        given = request.headers.get("x-functions-key") or request.args.get("code", "")
        if not self.master_key:
            return False
        return hmac.compare_digest(given.encode(), self.master_key.encode())

    def _call(
        self,
        request: Request,
        function: Function,
        path: Sequence[str],
        params: Mapping[str, str],
    ) -> Response:
        argument = bindings.http_request(
            method=request.method,
            url=_shown_url(request, path),
            headers=dict(request.headers),
            query={name: ",".join(values) for name, values in request.args.lists()},
            route_params=params,
            body=request.get_data(),
        )
        try:
            future = self.invoker.submit(function, argument)
        except RuntimeError:  # we are stopping
            return Response(status=503)
        wait([future])
        if future.cancelled():
            return Response(status=503)
        if future.exception() is not None:  # the invoker has logged it
            return Response(status=500)
        try:
            answer = bindings.http_answer(future.result())
        except Exception:  # a wrong return value fails the request, as in Azure
            log.exception("the answer of %s cannot be encoded", function.name)
            return Response(status=500)
        response = Response(answer.body, status=answer.status)
        response.headers.clear()
        for name, value in answer.headers:
            response.headers.add(name, value)
        return response


def _raw_path(request: Request) -> str:
    # PATH_INFO would not tell %2F from a slash.
    uri = str(request.environ["RAW_URI"]).partition("?")[0]
    return uri.partition("://")[2].partition("/")[2] if "://" in uri else uri


def _shown_url(request: Request, path: Sequence[str]) -> str:
    # ASP.NET's display form, which is what Azure hands on: unescaped path, query as sent.
    slash = "/" if path and request.path.endswith("/") else ""
    query = request.query_string.decode("latin-1")
    shown = f"{request.scheme}://{request.host}/{'/'.join(path)}{slash}"
    return f"{shown}?{query}" if query else shown
