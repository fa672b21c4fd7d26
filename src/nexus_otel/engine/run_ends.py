"""What we do with every span of a provider: its metadata when it starts, the runs under it when it ends."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from nexus_otel._guard import guard
from nexus_otel.engine.driver import runs
from nexus_otel.engine.seen import Seen
from nexus_otel.genai.metadata import stamp

_ENDING: Final = guard("ending the runs under a span")
_STAMPING: Final = guard("setting the metadata of a span")
_joined: Final = Seen()


class RunEnds(SpanProcessor):
    """Ends the runs whose ambient parent ends, and gives each span the metadata of its context.

    Attributes:
        traces: The ids of the last traces that began in this process.
    """

    def __init__(self) -> None:
        self.traces: deque[int] = deque(maxlen=64)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with _STAMPING:
            stamp(span, parent_context)
        if span.parent is None:
            self.traces.append(span.context.trace_id)

    def on_end(self, span: ReadableSpan) -> None:
        with _ENDING:
            runs.close_under(span.context.span_id)


def join(provider: Any) -> RunEnds | None:
    """Add the processor to a provider that somebody else made, once; None where that is done or cannot be.

    On a provider that takes none, a run ends with its last answer, when it is idle, or with the process.
    """
    if not hasattr(provider, "add_span_processor") or not _joined.first(provider):
        return None
    ends = RunEnds()
    provider.add_span_processor(ends)
    return ends
