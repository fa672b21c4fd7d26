"""Which span of ours owns the work in the current context."""

from __future__ import annotations

import sys
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context, create_key
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, get_current_span, set_span_in_context

from nexus_otel import semconv
from nexus_otel._guard import quietly

OWNER: Final = create_key("nexus-otel-model-step")
"""Context key of the open model step: inner layers find it and only add to it."""
AGENT: Final = create_key("nexus-otel-agent")
"""Context key of the nearest run above that a library made: what is done there belongs to it."""
INFERS: Final = create_key("nexus-otel-infers")
"""Context key that is set where runs are inferred all the same: in a workflow, and in a tool of an agent."""
TOOL: Final = create_key("nexus-otel-tool-step")
"""Context key of the nearest tool call that is executed."""
APART: Final = create_key("nexus-otel-apart")
"""Context key that is set where each run that begins is an item of a batch."""
SEAT: Final = create_key("nexus-otel-seat")
"""Context key of who is told which run a model call belongs to, where the call is made in a task of its own."""
_SPAN_KEY: Final = next(iter(set_span_in_context(INVALID_SPAN, Context())))
"""The key under which the API keeps the current span."""
_SUPPRESS_KEY: Final = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
_GENAI_KEY: Final = "opentelemetry.genai.client.inference.context"
"""Context key by which `opentelemetry-util-genai` (1.3b0) marks an open model call."""


def suppressed(context: Context) -> bool:
    """Whether somebody asked that nothing be instrumented here."""
    return bool(context.get(_SUPPRESS_KEY) or context.get("suppress_instrumentation"))


def foreign_owner(context: Context) -> bool:
    """Whether an official GenAI instrumentation owns the model call of this context."""
    return context.get(_GENAI_KEY) is not None


def runs(context: Context, operation: str) -> bool:
    """Whether the current span is of that operation."""
    attributes = getattr(get_current_span(context), "attributes", None)
    return bool(attributes and attributes.get(semconv.OPERATION) == operation)


def around(context: Context, other: str | None) -> Context:
    """Return the context of a call without the span that another instrumentation of the same method made for it.

    Each call would otherwise seem to be in a place of its own, and no two of them in one run.

    Args:
        context: That in which the call reaches us.
        other: The module of the other instrumentation; its spans have the scope of its package.

    Returns:
        `context` itself where the current span is none of the other's.
    """
    span = get_current_span(context)
    name = getattr(getattr(span, "instrumentation_scope", None), "name", None)
    if other is None or not name or not f"{other}.".startswith(f"{name}."):
        return context
    parent = getattr(span, "parent", None)
    return set_span_in_context(NonRecordingSpan(parent) if parent is not None else INVALID_SPAN, context)


def runs_tool(context: Context, name: str) -> bool:
    """Whether the current span is the execution of that tool already."""
    attributes = getattr(get_current_span(context), "attributes", None)
    if not attributes or attributes.get(semconv.OPERATION) != semconv.EXECUTE_TOOL:
        return False
    return bool(attributes.get(semconv.TOOL_NAME) == name)


def owned(context: Context, span: Span, step: object, *, claims: bool = True) -> Context:
    """Return `context` with `span` current and owned by `step`.

    Args:
        context: That of the call.
        span: Made current.
        step: The owner, which inner layers find.
        claims: Whether official instrumentations are to make no span for the same call.
    """
    owning = Context({**context, _SPAN_KEY: span, OWNER: step})
    module = sys.modules.get("opentelemetry.util.genai._inference_invocation")
    if module is None or not claims:
        return owning
    mark = quietly(getattr(module, "InferenceData", None) or object)
    return Context({**owning, _GENAI_KEY: mark})


def under_agent(context: Context, span: Span, run: object, *, infers: bool) -> Context:
    """Return `context` with the span of a run current: no model call owns what is done there."""
    fresh = {OWNER: None, _GENAI_KEY: None, APART: False, SEAT: None, TOOL: None}
    return Context({**context, **fresh, _SPAN_KEY: span, AGENT: run, INFERS: infers})


def under_tool(context: Context, span: Span, step: object = None) -> Context:
    """Return `context` with the span of a tool current: a model call made there is one of its own."""
    fresh = {OWNER: None, _GENAI_KEY: None, SEAT: None}
    return Context({**context, **fresh, _SPAN_KEY: span, INFERS: True, TOOL: step})


def in_batch(context: Context) -> Context:
    """Return `context` as the one of the items of a batch."""
    return Context({**context, APART: True})


def seated(context: Context, seat: object) -> Context:
    """Return `context` with who is told of the run that model calls belong to."""
    return Context({**context, SEAT: seat})


def on_top(context: Context, own: Context) -> Context:
    """Return `context` with what `own` says of the span and its run: what else was added to it stays."""
    ours = (_SPAN_KEY, OWNER, _GENAI_KEY, AGENT, INFERS, TOOL, APART)
    return Context({**context, **{key: own.get(key) for key in ours}})


def current(context: Context, span: Span) -> Context:
    """Return `context` with `span` current."""
    return set_span_in_context(span, context)


def enter(context: Context) -> object:
    """Make a context current and return what `leave` needs; only ever used around a call in one frame."""
    return otel_context.attach(context)


def leave(token: Any) -> None:
    """Undo `enter`; silent where the frame was closed from another context, which the API would log as an error."""
    runtime = getattr(otel_context, "_RUNTIME_CONTEXT", None)
    if runtime is None:
        otel_context.detach(token)
    else:
        quietly(runtime.detach, token)
