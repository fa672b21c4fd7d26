"""SDKs that make OpenTelemetry spans of their own: silent where we record the call, unless their user chose them.

Anthropic (1.14 to 2.12) reads its tracer through the property `_base_client.BaseClient._tracer` at each call, so that
answering None there is enough, whatever was set up first. On a provider of ours they are silent throughout: nobody
asked for spans of token counts and batches in traces of their own. Where the user chose them, the SDK's span of a model
call is the span of that call, and gets what we know of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace

from nexus_otel._environ import variables
from nexus_otel._guard import guard
from nexus_otel.engine import scope
from nexus_otel.engine.driver import ModelStep
from nexus_otel.engine.steps import SilentStep
from nexus_otel.genai.own import own

_CHOSEN: Final = "_nexus_native_chosen"
_VARIABLES: Final = ("ANTHROPIC_OPEN_TELEMETRY", "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE")
_OFF: Final = frozenset({"", "false", "0", "no", "off"})


def silence_native(original: property) -> property:
    """Return the property of a client's tracer that answers None, or one whose span we adopt, where we record."""

    def tracer(client: Any) -> Any:
        step = otel_context.get_current().get(scope.OWNER)
        owned = isinstance(step, ModelStep | SilentStep) and not step.ended
        if not native_chosen(client):
            return None if own.traces or owned else original.__get__(client)
        if not (owned and isinstance(step, ModelStep)):
            return original.__get__(client)
        if not step.operation.traces_itself:
            # a framework owns the call, whose span has all that the SDK knows: another one would count its tokens twice
            return original.__get__(client) if "tracer_provider" in client._open_telemetry else None
        native = original.__get__(client)
        return _Adopting(native, step) if native is not None else None

    return property(tracer, doc=original.__doc__)


def silence_helper(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the SDK that makes a span for the client it is given, so that it makes none.

    The tool runner's spans begin where no span of ours is open; the run and its tools are recorded by us.
    """

    def helper(client: Any, *args: Any, **kwargs: Any) -> Any:
        return original(client if native_chosen(client) else _Untraced, *args, **kwargs)

    return functools.update_wrapper(helper, original)


class _Untraced:
    """A client without a tracer."""

    _tracer = None


def remember_choice(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Return the setter of a client's option that remembers whether the user gave one that asks for spans."""

    def _set_open_telemetry(client: Any, option: Any) -> None:
        original(client, option)
        with guard("reading a client's tracing option"):
            # a copy of a client is given the resolved option of the first one: complete, and maybe nobody's choice
            given = isinstance(option, Mapping) and not {"propagation", "traces"} <= set(option)
            given = given or isinstance(option, _Chosen)
            enabled = client._open_telemetry["traces"]["enabled"]
            setattr(client, _CHOSEN, bool(enabled and given) or _differs(client))

    return functools.update_wrapper(_set_open_telemetry, original)


def keep_choice(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return what gives a copy of a client its option, so that the choice goes with it."""

    def _copy_open_telemetry(client: Any, option: Any) -> Any:
        given = original(client, option)
        with guard("copying a client's tracing option"):
            if option is None and native_chosen(client):
                return _Chosen(given)
        return given

    return functools.update_wrapper(_copy_open_telemetry, original)


class _Chosen(dict[str, Any]):
    """An option that somebody chose, on its way to a copy."""


def native_chosen(client: Any) -> bool:
    """Whether a client's user asked for its own spans, by an option or a variable."""
    if client is None:
        return False
    chosen = client.__dict__.get(_CHOSEN)
    return _differs(client) if chosen is None else bool(chosen)


def _differs(client: Any) -> bool:
    """Whether a client's resolved option is other than what it is when nobody says anything, and has spans."""
    option = getattr(client, "_open_telemetry", None)
    if not option or not option["traces"]["enabled"]:
        return False
    named = any(variables().get(name, "").strip().lower() not in _OFF for name in _VARIABLES)
    named = named or not {"tracer_provider", "conversation_id"}.isdisjoint(option)
    return named or option["traces"]["content_mode"] != "metadata_only"


class _Adopting(trace.Tracer):
    """The SDK's tracer, whose first span becomes the span of the model call that is open."""

    def __init__(self, native: trace.Tracer, step: ModelStep) -> None:
        self._native = native
        self._step = step

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        span = self._native.start_span(*args, **kwargs)
        return _Held(span, self._step) if self._step.adopt(span) else span

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._native.start_as_current_span(*args, **kwargs)


class _Held(trace.Span):
    """An adopted span as the SDK has it: the model call ends it, and nothing is set on it afterwards."""

    def __init__(self, span: trace.Span, step: ModelStep) -> None:
        self._span = span
        self._step = step

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the model call may know more, and ends it."""

    def get_span_context(self) -> trace.SpanContext:
        return self._span.get_span_context()

    def is_recording(self) -> bool:
        return not self._step.ended and self._span.is_recording()

    def set_attributes(self, attributes: Any) -> None:
        self._pass("set_attributes", attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self._pass("set_attribute", key, value)

    def add_event(self, *args: Any, **kwargs: Any) -> None:
        self._pass("add_event", *args, **kwargs)

    def update_name(self, name: str) -> None:
        self._pass("update_name", name)

    def set_status(self, *args: Any, **kwargs: Any) -> None:
        self._pass("set_status", *args, **kwargs)

    def record_exception(self, *args: Any, **kwargs: Any) -> None:
        self._pass("record_exception", *args, **kwargs)

    def _pass(self, name: str, *args: Any, **kwargs: Any) -> None:
        if not self._step.ended:
            getattr(self._span, name)(*args, **kwargs)
