"""Runs on the SDK's own spans, followed by a `Live` of their own; with a clock that tests turn."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from nexus_otel.genai.ending import looks
from nexus_otel.processors import live as module
from nexus_otel.processors.live import Live, LiveProcessor

S = 1_000_000_000
START = 1_700_000_000 * S


@contextmanager
def followed(keep=True):
    """A provider whose spans are followed, as those of an application are; gives it, and what ended."""
    own = Live()
    ended = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LiveProcessor())
    if keep:
        provider.add_span_processor(SimpleSpanProcessor(ended))
    with mock.patch.object(module, "_live", own):
        yield own, provider, ended
    looks.remove(own.look)


class Told:
    """One run, told span by span."""

    def __init__(self, provider, name="helper"):
        self.tracer = provider.get_tracer("somebody")
        self.now = START
        about = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name, "gen_ai.agent.version": "1.2"}
        self.root = self.tracer.start_span(f"invoke_agent {name}", start_time=self.now, attributes=about)
        self.inside = set_span_in_context(self.root)

    def span(self, name, attributes, seconds=0.1):
        made = self.tracer.start_span(name, self.inside, start_time=self.now, attributes=attributes)
        self.now += round(seconds * S)
        made.end(self.now)
        return made

    def model(self, tokens=100, seconds=0.1, **more):
        about = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": tokens}
        return self.span("chat m", about | more, seconds)

    def tool(self, name, given, answer, seconds=0.1, **more):
        about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        content = {"gen_ai.tool.call.arguments": given, "gen_ai.tool.call.result": answer}
        return self.span(f"execute_tool {name}", about | content | more, seconds)

    def wait(self, seconds):
        self.now += round(seconds * S)

    def end(self):
        self.root.end(self.now)
