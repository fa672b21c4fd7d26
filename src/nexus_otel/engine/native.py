"""SDKs that make OpenTelemetry spans of their own: silent while a span of ours owns the call, unless the user chose them.

Anthropic (1.14 to 2.12) reads its tracer through the property `_base_client.BaseClient._tracer` at each call, so that
answering None there is enough, whatever was set up first. On a provider of ours they are silent throughout: nobody asked
for spans of token counts and batches in traces of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context as otel_context

from nexus_otel import config
from nexus_otel._guard import guard
from nexus_otel.engine import scope
from nexus_otel.genai.own import own

_CHOSEN: Final = "_nexus_native_chosen"
_VARIABLES: Final = ("ANTHROPIC_OPEN_TELEMETRY", "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE")


def silence_native(original: property) -> property:
    """Return the property of a client's tracer that answers None where we record the call."""

    def tracer(client: Any) -> Any:
        if not native_chosen(client) and _ours():
            return None
        return original.__get__(client)

    return property(tracer)


def remember_choice(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Return the setter of a client's option that remembers whether the user gave one that asks for spans."""

    def _set_open_telemetry(client: Any, option: Any) -> None:
        original(client, option)
        with guard("reading a client's tracing option"):
            enabled = client._open_telemetry["traces"]["enabled"]
            # a copy of a client is given the resolved default of the first one: complete, and nobody's choice
            given = option is not None and option is not False and not {"propagation", "traces"} <= set(option)
            named = any(config.variables().get(name) for name in _VARIABLES)
            setattr(client, _CHOSEN, bool(enabled and (given or (option is None and named))))

    return _set_open_telemetry


def native_chosen(client: Any) -> bool:
    """Whether a client's user asked for its own spans."""
    return bool(client is not None and client.__dict__.get(_CHOSEN))


def _ours() -> bool:
    return own.traces or scope.OWNER in otel_context.get_current()
