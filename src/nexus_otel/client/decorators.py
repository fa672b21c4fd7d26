"""`@agent`, `@tool` and `@step`: functions, methods, generators and their async kinds, recorded at each call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, overload

from nexus_otel.client.recording import recording
from nexus_otel.client.schema import schema_of
from nexus_otel.engine.instrumentor import Binding
from nexus_otel.engine.target import BadCallError, Call, Target
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Conversation,
    Detail,
    Failure,
    Message,
    Operation,
    Result,
    ToolCall,
    ToolResult,
)
from nexus_otel.genai.plain import to_json

F = TypeVar("F", bound=Callable[..., Any])
_MOST_ITEMS: Final = 1_000


@overload
def agent(function: F, /) -> F: ...
@overload
def agent(*, name: str | None = None, description: str | None = None) -> Callable[[F], F]: ...
def agent(function: Any = None, /, *, name: str | None = None, description: str | None = None) -> Any:
    """Record each call of a function as the run of an agent.

    Args:
        function: A function or method, a generator function, or an async one of either.
        name: The agent's name; the function's by default.
        description: What it says of itself; the first line of the docstring by default.
    """

    def wrap(wrapped: F) -> Any:
        called, said = name or wrapped.__name__, description or _first_line(wrapped)

        def request(call: Call) -> Operation:
            given = _arguments(call)
            asked = [Message("user", [{"type": "text", "content": _text(given)}])]
            return AgentRun(called, description=said, conversation=lambda: Conversation(asked))

        return _recorded(wrapped, request, _agent_result)

    return wrap if function is None else wrap(function)


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, name: str | None = None, description: str | None = None) -> Callable[[F], F]: ...
def tool(function: Any = None, /, *, name: str | None = None, description: str | None = None) -> Any:
    """Record each call of a function as the execution of a tool, which it is checked to be by its signature.

    In a loop that is recorded it is the span of the call that the model asked for.

    Args:
        function: A function or method, a generator function, or an async one of either.
        name: The tool's name; the function's by default.
        description: What it says of itself; the first line of the docstring by default.
    """

    def wrap(wrapped: F) -> Any:
        called, said = name or wrapped.__name__, description or _first_line(wrapped)
        schema = schema_of(wrapped)

        def request(call: Call) -> Operation:
            return ToolCall(called, _arguments(call), description=said, schema=schema)

        return _recorded(wrapped, request, ToolResult)

    return wrap if function is None else wrap(function)


@overload
def step(function: F, /) -> F: ...
@overload
def step(*, name: str | None = None) -> Callable[[F], F]: ...
def step(function: Any = None, /, *, name: str | None = None) -> Any:
    """Record each call of a function as a step of an agent.

    Args:
        function: A function or method, a generator function, or an async one of either.
        name: The step's name; the function's by default.
    """

    def wrap(wrapped: F) -> Any:
        called = name or wrapped.__name__
        return _recorded(wrapped, lambda _call: Detail(called, asked=True), None)

    return wrap if function is None else wrap(function)


def _recorded(function: Any, request: Callable[[Call], Operation], response: Callable[[Any], Result] | None) -> Any:
    gathers = response is not None and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function))
    target = Target(
        module=function.__module__,
        name=function.__qualname__,
        request=request,
        response=response,
        fold=(lambda: _Items(response)) if gathers else None,
        failure=lambda error: Failure(type(error).__name__, str(error)),
    )
    return Binding(recording.implicit, target, lambda: True).around(function)


class _Items:
    """What a generator gave: the text of it where all of it is text, else the first items."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._items: list[Any] = []

    def add(self, event: Any) -> None:
        if len(self._items) < _MOST_ITEMS:
            self._items.append(event)

    def result(self) -> Result | None:
        is_text = self._items and all(isinstance(item, str) for item in self._items)
        found: Result = self._response("".join(self._items) if is_text else self._items)
        return found


def _arguments(call: Call) -> dict[str, Any]:
    """Return the arguments of a call by name, with the defaults that the function would take.

    Raises:
        BadCallError: They do not fit the function.
    """
    try:
        bound = inspect.signature(call.wrapped).bind(*call.args, **call.kwargs)
    except TypeError:
        raise BadCallError from None
    found: dict[str, Any] = {}
    for parameter in bound.signature.parameters.values():
        if parameter.name in bound.arguments:
            value = bound.arguments[parameter.name]
            found |= value if parameter.kind is parameter.VAR_KEYWORD else {parameter.name: value}
    return found


def _agent_result(value: Any) -> AgentResult:
    if value is None:
        return AgentResult()
    text = value if isinstance(value, str) else to_json(value)
    return AgentResult((Message("assistant", [{"type": "text", "content": text}]),))


def _text(given: Mapping[str, Any]) -> str:
    values = list(given.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else to_json(given)


def _first_line(function: Any) -> str | None:
    lines = (inspect.getdoc(function) or "").splitlines()
    return lines[0] if lines else None
