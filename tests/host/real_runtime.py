"""Drives Microsoft's azure-functions-runtime in this process, without host, gRPC or protobuf.

It uses entry points that Microsoft keeps to itself, so the version is pinned and
all of it lives here.
"""

import importlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

VERSION = "1.3.0"
MODULE = "function_app"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the worker would report to Azure's host about one invocation."""

    ok: bool
    #: The encoded return value, None if there is none.
    value: Any
    error: str | None

    @property
    def status(self) -> int:
        """Return the status of an HTTP answer."""
        return int(self.value["status_code"].value)

    @property
    def body(self) -> bytes:
        """Return the body of an HTTP answer."""
        return bytes(self.value["body"].value)


@dataclass(frozen=True, slots=True)
class RealRuntime:
    """An indexed app; ``functions`` maps names to raw bindings."""

    functions: Mapping[str, list[dict[str, Any]]]
    _ids: Mapping[str, str]

    def http(
        self,
        name: str,
        *,
        method: str = "GET",
        url: str = "http://localhost/",
        query: Mapping[str, str] | None = None,
        route_params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Outcome:
        """Invoke an HTTP function."""
        value = {
            "method": _datum(method, "string"),
            "url": _datum(url, "string"),
            "headers": _strings(headers or {}),
            "query": _strings(query or {}),
            "params": _strings(route_params or {}),
            "body": _datum(body, "bytes"),
        }
        return self._invoke(name, _datum(value, "http"), {})

    def queue(self, name: str, body: bytes) -> Outcome:
        """Invoke a queue function with a message."""
        return self._invoke(name, _datum(body, "bytes"), _message_metadata())

    def timer(self, name: str) -> Outcome:
        """Invoke a timer function."""
        return self._invoke(name, _datum(json.dumps({"IsPastDue": True}), "json"), {})

    def decoded_message(self, name: str, body: bytes) -> Any:
        """Build the argument that a queue function would get, and call nobody."""
        info = self._info(name)
        (parameter,) = info.input_types
        decode = _module("native_invocation")._decode_inputs
        inputs = [(parameter, _datum(body, "bytes"))]
        return decode(info, inputs, _message_metadata())[parameter]

    def _invoke(self, name: str, argument: Any, metadata: Mapping[str, Any]) -> Outcome:
        (parameter,) = self._info(name).input_types
        handled, ok, value, outputs, error, _ = _module("native_invocation").run_invocation_sync(
            str(uuid4()), self._ids[name], [(parameter, argument)], metadata
        )
        assert handled, f"{name} is async, which this entry point does not run"
        assert outputs == []
        return Outcome(ok, value.value if value is not None else None, error)

    def _info(self, name: str) -> Any:
        return _module("handle_event")._functions.get_function(self._ids[name])


def why_not() -> str | None:
    """Say why the runtime cannot be driven here; None if it can."""
    try:
        found = importlib.metadata.version("azure-functions-runtime")
    except importlib.metadata.PackageNotFoundError:
        return "azure-functions-runtime, which needs Python 3.13, is not installed"
    return None if found == VERSION else f"written for azure-functions-runtime {VERSION}"


@contextmanager
def loaded(folder: Path, env: Mapping[str, str]) -> Iterator[RealRuntime]:
    """Index the app in ``folder`` as Azure does; raise what Azure would report."""
    events, threads = _module("handle_event"), _module("utils.threadpool")
    events.protos = SimpleNamespace(
        BindingInfo=_BindingInfo,
        RpcFunctionMetadata=SimpleNamespace,
        RpcRetryOptions=SimpleNamespace,
    )
    environment, module = dict(os.environ), sys.modules.pop(MODULE, None)
    os.environ.update(env)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    threads.start_threadpool_executor()
    try:
        _module("bindings.meta").load_binding_registry()
        events.load_function_metadata(str(folder), caller_info="tests")
        indexed = events._metadata_result
        yield RealRuntime(
            {one.name: [json.loads(raw) for raw in one.raw_bindings] for one in indexed},
            {one.name: one.function_id for one in indexed},
        )
    finally:
        threads.stop_threadpool_executor()
        events._functions._functions.clear()
        sys.path.remove(str(folder))
        sys.modules.pop(MODULE, None)
        if module is not None:
            sys.modules[MODULE] = module
        os.environ.clear()
        os.environ.update(environment)


class _BindingInfo(SimpleNamespace):
    """Stands in for the protobuf message of that name."""

    out, inout, undefined = 1, 2, 0


def _module(name: str) -> Any:
    return importlib.import_module(f"azure_functions_runtime.{name}")


def _message_metadata() -> dict[str, Any]:
    metadata = {
        "Id": "4f2a",
        "DequeueCount": 2,
        "PopReceipt": "receipt",
        "InsertionTime": "2026-11-22T09:00:00+00:00",
        "ExpirationTime": "2026-11-29T09:00:00+00:00",
        "NextVisibleTime": "2026-11-22T09:10:00+00:00",
    }
    return {name: _datum(json.dumps(value), "json") for name, value in metadata.items()}


def _strings(texts: Mapping[str, str]) -> dict[str, Any]:
    return {name: _datum(text, "string") for name, text in texts.items()}


def _datum(value: object, kind: str) -> Any:
    return _module("bindings.datumdef").Datum(value, kind)
