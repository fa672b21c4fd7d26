"""Spans as the store gives them, and a store that holds some."""

import json
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from nexus_otel.config import Settings
from nexus_otel.export.read import StoredEvent, StoredSpan
from nexus_otel.export.spool import Spool, SpoolProcessor

START = 1_764_000_000_000_000_000
TRACE = "3f9c2b1a" + "0" * 24
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "travel"}
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "model-x"}
TOOL = {"gen_ai.operation.name": "execute_tool"}


def span_id(number):
    return f"{number:08x}" + "ab" * 4


def span(number, parent, name, begin, end, attributes=None, **more):  # noqa: PLR0917 - a row of a table
    """A span of the sample trace; times in seconds after its start."""
    facts = {
        "trace_id": TRACE,
        "span_id": span_id(number),
        "parent_id": span_id(parent) if parent else "",
        "name": name,
        "kind": 1,
        "start_ns": START + round(begin * 1e9),
        "end_ns": None if end is None else START + round(end * 1e9),
        "attributes": attributes or {},
        "events": [],
        "links": [],
        "status": 0,
        "status_message": "",
        "scope": "nexus_otel",
        "scope_version": "0.1.0",
        "resource": {"service.name": "svc"},
    }
    return StoredSpan(**{**facts, **more})


def usage(given, produced):
    return {"gen_ai.usage.input_tokens": given, "gen_ai.usage.output_tokens": produced}


def message(role, *parts):
    return {"role": role, "parts": list(parts)}


def text(content):
    return {"type": "text", "content": content}


def call(call_id, name, **arguments):
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def answer(call_id, response):
    return {"type": "tool_call_response", "id": call_id, "response": response}


USER = message("user", text("Plan two days in Paris"))
ASKS = message("assistant", text("Let me look."), call("t1", "search", q="hotels"), call("t2", "book", nights=2))
ANSWERS = message("tool", answer("t1", "\n".join(f"hotel {n}" for n in range(40))), answer("t2", "timed out"))
PLAN = message("assistant", text("Here is the plan."))


def conversation(given, produced):
    return {"gen_ai.input.messages": json.dumps(given), "gen_ai.output.messages": json.dumps(produced)}


def travel():
    """A run of two steps and two tool calls, one of which fails; with content."""
    first = {
        **CHAT,
        **usage(1204, 88),
        **conversation([USER], [ASKS]),
        "gen_ai.system_instructions": json.dumps([text("Be brief.")]),
        "gen_ai.tool.definitions": json.dumps([{"type": "function", "name": name} for name in ("search", "book")]),
    }
    search = {
        **TOOL,
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "t1",
        "gen_ai.tool.call.arguments": '{"q": "hotels"}',
        "gen_ai.tool.call.result": ANSWERS["parts"][0]["response"],
        "nexus.derived": True,
    }
    book = {
        **TOOL,
        "gen_ai.tool.name": "book",
        "gen_ai.tool.call.id": "t2",
        "gen_ai.tool.call.arguments": '{"nights": 2}',
        "gen_ai.tool.call.result": "timed out",
        "error.type": "TimeoutError",
    }
    last = {**CHAT, **usage(2300, 300), **conversation([USER, ASKS, ANSWERS], [PLAN])}
    retried = [StoredEvent("nexus.retry", START + 10**9, {"nexus.retry.attempt": 1})]
    return [
        span(1, 0, "invoke_agent travel", 0, 41.2, AGENT),
        span(2, 1, "chat model-x", 0, 3.1, first, events=retried),
        span(3, 1, "execute_tool search", 3.1, 4, search),
        span(4, 1, "execute_tool book", 3.1, 20, book, status=2, status_message="no answer within 17 s"),
        span(5, 4, "GET /book", 3.2, 19),
        span(6, 1, "chat model-x", 20.5, 41, {**last, "gen_ai.response.finish_reasons": ["length"]}),
    ]


def write(home: Path, spans, destinations=()):
    """Write spans into the store of `home`, as a traced process does, to be sent to `destinations`."""
    spool = Spool.open(home, destinations, resource={"service.name": "svc"}, settings=Settings())
    ids = _Ids()
    resource = Resource({"service.name": "svc"})
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SpoolProcessor(spool))
    for one in spans:
        ids.trace_id, ids.span_id = int(one.trace_id, 16), int(one.span_id, 16)
        _write_span(provider.get_tracer("nexus_otel", "0.1.0"), one)
    spool.close()


def _write_span(tracer, one):
    around = None
    if one.parent_id:
        ids = (int(one.trace_id, 16), int(one.parent_id, 16))
        parent = SpanContext(*ids, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        around = trace.set_span_in_context(NonRecordingSpan(parent))
    live = tracer.start_span(one.name, around, start_time=one.start_ns, attributes=one.attributes)
    for event in one.events:
        live.add_event(event.name, event.attributes, event.time_ns)
    if one.status:
        live.set_status(trace.StatusCode.ERROR, one.status_message)
    if one.end_ns is not None:
        live.end(one.end_ns)


class _Ids(IdGenerator):
    trace_id = span_id = 0

    def generate_trace_id(self):
        return self.trace_id

    def generate_span_id(self):
        return self.span_id
