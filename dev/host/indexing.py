"""Imports ``function_app.py`` and lists its functions, with the checks that Azure makes."""

import importlib.util
import inspect
import logging
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from azure.functions import FunctionRegister

from dev.host import bindings, ncrontab, routes, storage
from dev.host.functions import (
    CannotStart,
    Function,
    HttpTrigger,
    Level,
    QueueTrigger,
    TimerTrigger,
    Trigger,
)

MODULE = "function_app"
#: Azure's own routes live under these names.
RESERVED = {"admin", "runtime"}

log = logging.getLogger(__name__)


@contextmanager
def imported(app_dir: Path) -> Iterator[ModuleType]:
    """Import the app's module afresh, and leave the import system as it was."""
    path = app_dir / f"{MODULE}.py"
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise CannotStart([f"{path} does not exist"])
    before = sys.modules.get(MODULE)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(app_dir))
    sys.modules[MODULE] = module
    try:
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a stranger's module raises, the answer is the same
            log.exception("%s cannot be imported", path)
            raise CannotStart([f"{path} cannot be imported: {error!r}"]) from error
        yield module
    finally:
        sys.path.remove(str(app_dir))
        if before is None:
            sys.modules.pop(MODULE, None)
        else:
            sys.modules[MODULE] = before


def index(module: ModuleType, env: Mapping[str, str], *, route_prefix: str) -> list[Function]:
    """List the functions of ``module``; CannotStart names every problem at once."""
    apps = [app for app in vars(module).values() if isinstance(app, FunctionRegister)]
    if len(apps) != 1:
        raise CannotStart(
            [f"function_app.py must have one FunctionApp at its top level, not {len(apps)}"]
        )
    try:
        indexed: list[Any] = apps[0].get_functions()
    except ValueError as error:
        raise CannotStart([str(error)]) from None

    functions: list[Function] = []
    problems: list[str] = []
    for one in indexed:
        try:
            functions.append(_function(one, env, route_prefix=route_prefix))
        except ValueError as error:
            problems.append(f"{one.get_function_name()}: {error}")
    problems += _clashes(functions)
    if not indexed:
        problems.append("function_app.py has no functions")
    if problems:
        raise CannotStart(problems)
    return functions


def expand(text: str, env: Mapping[str, str]) -> str:
    """Put settings in place of ``%NAME%``, as Azure does in triggers."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if not env.get(name):
            raise ValueError(f"the setting {name} is missing; a trigger uses it as %{name}%")
        return env[name]

    return re.sub("%([^%]+)%", value, text)


def _function(one: Any, env: Mapping[str, str], *, route_prefix: str) -> Function:
    call = one.get_user_function()
    trigger = one.get_trigger().get_dict_repr()
    others = [
        binding.get_dict_repr()
        for binding in one.get_bindings()
        if binding is not one.get_trigger()
    ]
    unknown = [
        binding["type"]
        for binding in others
        if binding["type"] != "http" or not _is_return(binding)
    ]
    if unknown:
        raise ValueError(
            f"this host runs http, queue and timer triggers only, not the binding {unknown[0]}"
        )
    if one.get_settings_dict("retry_policy"):
        raise ValueError("this host does not imitate @retry")
    set_off_by = _trigger(trigger, env, route_prefix=route_prefix)
    _check_annotations(call, trigger)
    return Function(
        name=one.get_function_name(),
        call=call,
        parameter=trigger["name"],
        takes_context=_takes_context(call, trigger["name"]),
        may_return=any(_is_return(binding) for binding in others),
        trigger=set_off_by,
    )


def _is_return(binding: Mapping[str, Any]) -> bool:
    return bool(binding["name"] == "$return")


def _takes_context(call: Any, parameter: str) -> bool:
    named = set(inspect.signature(call).parameters)
    annotations = typing.get_type_hints(call)
    takes_context = "context" in named and parameter != "context"
    if takes_context and getattr(annotations.get("context"), "__name__", "Context") != "Context":
        raise ValueError('its parameter "context" must be annotated func.Context')
    if extra := named - {parameter} - ({"context"} if takes_context else set()):
        raise ValueError(f"its parameters {sorted(extra)} are not bound to anything")
    if parameter not in named:
        raise ValueError(f'its trigger is bound to "{parameter}", which is no parameter of it')
    return takes_context


def _check_annotations(call: Any, trigger: Mapping[str, Any]) -> None:
    annotations = typing.get_type_hints(call)
    parameter, kind = trigger["name"], trigger["type"]
    if parameter in annotations and not bindings.takes(kind, annotations[parameter]):
        raise ValueError(f'its parameter "{parameter}" has the wrong annotation for a {kind}')
    if (
        kind == "httpTrigger"
        and "return" in annotations
        and not bindings.gives("http", annotations["return"])
    ):
        raise ValueError("an HTTP function must be annotated to return func.HttpResponse or str")


def _trigger(trigger: Mapping[str, Any], env: Mapping[str, str], *, route_prefix: str) -> Trigger:
    match trigger["type"]:
        case "httpTrigger":
            return _http(trigger, route_prefix)
        case "queueTrigger":
            queue = expand(trigger["queueName"], env)
            account = storage.connection_string(expand(trigger["connection"], env), env)
            storage.queue_client(account, queue).close()
            return QueueTrigger(queue, account)
        case "timerTrigger":
            # Azure keeps the timer's lock and its last run there.
            storage.connection_string("AzureWebJobsStorage", env)
            return TimerTrigger(
                ncrontab.parse(expand(trigger["schedule"], env)),
                run_on_startup=bool(trigger.get("runOnStartup")),
            )
        case kind:
            raise ValueError(
                f"this host runs http, queue and timer triggers only, not the trigger {kind}"
            )


def _http(trigger: Mapping[str, Any], route_prefix: str) -> HttpTrigger:
    template = str(trigger["route"]).strip("/")
    if template.split("/")[0].lower() in RESERVED:
        raise ValueError(f'its route "{template}" conflicts with one of Azure\'s own routes')
    return HttpTrigger(
        route=routes.parse(f"{route_prefix}/{template}"),
        methods=frozenset(str(method) for method in trigger.get("methods") or ()),
        level=Level(str(trigger.get("authLevel") or "function").lower()),
    )


def _clashes(functions: list[Function]) -> Iterator[str]:
    seen: list[tuple[str, HttpTrigger]] = []
    for function in functions:
        trigger = function.trigger
        if not isinstance(trigger, HttpTrigger):
            continue
        for name, other in seen:
            same = other.route.template.lower() == trigger.route.template.lower()
            if same and _overlap(other.methods, trigger.methods):
                yield f"{function.name}: its route is already that of {name}"
        seen.append((function.name, trigger))


def _overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    return not one or not other or bool(one & other)
