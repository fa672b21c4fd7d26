"""Telemetry kept in memory, and an instrumentor in place for the length of a block."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from nexus_otel import config
from nexus_otel.engine import streams
from nexus_otel.engine.driver import runs
from nexus_otel.engine.instrumentor import Instrumentor

AGENT: Final = "kit"
"""Name of the service, and so of every inferred agent, while an instrumentor is in place."""
_LOG_EXPORTER: Final[Any] = getattr(
    log_export, "InMemoryLogRecordExporter", getattr(log_export, "InMemoryLogExporter", None)
)
"""Its name before and since OpenTelemetry 1.39."""
_ENVIRONMENT: Final = {"OTEL_SERVICE_NAME": AGENT, "NEXUS_HASH_KEY": "kit", "NEXUS_EXPORT": "none"}


class CountedIds(IdGenerator):
    """Ids in order of creation, so that spans that start at one instant still have an order."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self._count)

    def generate_trace_id(self) -> int:
        return next(self._count)


class Recording(SpanProcessor):
    """Everything that would have left the process.

    Attributes:
        tracer: Of the application.
        open: The names of the spans that have not ended, by id.
        contexts: The parent context of each span, by id.
        may_stay_open: Whether spans may be left open at the end: where our own code is made to fail.
    """

    def __init__(self, sampler: Sampler | None = None) -> None:
        resource = Resource({})
        self.open: dict[int, str] = {}
        self.contexts: dict[int, Context | None] = {}
        self.may_stay_open = False
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self._log_exporter: Any = _LOG_EXPORTER()
        self.tracer_provider = TracerProvider(sampler, resource, shutdown_on_exit=False, id_generator=CountedIds())
        self.tracer_provider.add_span_processor(self)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader], resource, shutdown_on_exit=False)
        self.logger_provider = LoggerProvider(resource, shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(log_export.SimpleLogRecordProcessor(self._log_exporter))
        self.tracer = self.tracer_provider.get_tracer("the application")

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.open[span_id(span)] = span.name
        self.contexts[span_id(span)] = parent_context

    def on_end(self, span: ReadableSpan) -> None:
        del self.open[span_id(span)]

    # -- spans ---------------------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order in which they were made."""
        return sorted(self._exporter.get_finished_spans(), key=span_id)

    @property
    def names(self) -> Counter[str]:
        """How many spans there are of each name."""
        return Counter(span.name for span in self.spans)

    def all(self, start: str) -> list[ReadableSpan]:
        """Return the spans whose names begin with `start`."""
        return [span for span in self.spans if span.name.startswith(start)]

    def one(self, start: str = "") -> ReadableSpan:
        """Return the only span whose name begins with `start`."""
        (span,) = self.all(start)
        return span

    def tree(self) -> str:
        """Return the spans as text, children below their parents in order of their start, one line each."""
        spans = sorted(self.spans, key=lambda span: (span.start_time or 0, span_id(span)))
        ids = {span_id(span) for span in spans}
        children: dict[int | None, list[ReadableSpan]] = {}
        for span in spans:
            parent = span.parent.span_id if span.parent is not None and span.parent.span_id in ids else None
            children.setdefault(parent, []).append(span)

        def lines(parent: int | None, depth: int) -> Iterator[str]:
            for span in children.get(parent, ()):
                yield "  " * depth + span.name
                yield from lines(span_id(span), depth + 1)

        return "\n".join(lines(None, 0))

    # -- metrics and logs ----------------------------------------------------------------------------------------------

    @property
    def points(self) -> dict[str, list[Any]]:
        """The data points of each metric."""
        data = self._reader.get_metrics_data()
        found: dict[str, list[Any]] = {}
        for of_resource in data.resource_metrics if data is not None else ():
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    found.setdefault(metric.name, []).extend(metric.data.data_points)
        return found

    @property
    def logs(self) -> list[Any]:
        """The log records."""
        return [entry.log_record for entry in self._log_exporter.get_finished_logs()]

    # -- all of it -----------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """Return everything that was recorded as one text, for the search of what must not be there."""
        spans = [span.to_json(indent=None) + repr(span.attributes) + repr(span.events) for span in self.spans]
        logs = [repr(record) + repr(record.attributes) + repr(record.body) for record in self.logs]
        points = [repr(point) + repr(point.attributes) for points in self.points.values() for point in points]
        return "\n".join([*spans, *logs, *points])

    def clear(self) -> None:
        """Forget the spans and log records so far."""
        self._exporter.clear()
        self._log_exporter.clear()
        self.contexts.clear()


def span_id(span: ReadableSpan) -> int:
    """Return the id of a span."""
    assert span.context is not None
    return int(span.context.span_id)


def trace_id(span: ReadableSpan) -> int:
    """Return the id of the trace of a span."""
    assert span.context is not None
    return int(span.context.trace_id)


def parent_id(span: ReadableSpan) -> int | None:
    """Return the id of the parent of a span."""
    return span.parent.span_id if span.parent is not None else None


def values(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def content_mode(mode: str) -> dict[str, Any]:
    """Return the variable that asks for content: NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT."""
    return {config.CONTENT_VARIABLE: mode}


@contextmanager
def settings(**environment: str) -> Iterator[None]:
    """Put the settings in force that these variables, and no others, make.

    Args:
        environment: Variables in place of the kit's own.
    """
    chosen, problems = config.from_env({**_ENVIRONMENT, **environment})
    assert problems == []
    before = config._current
    config.use(chosen)
    try:
        yield
    finally:
        config.use(before)


@contextmanager
def instrumented(
    *instrumentors: type[Instrumentor],
    into: Recording | None = None,
    sampler: Sampler | None = None,
    meters: bool = True,
    loggers: bool = True,
    redact: Callable[[str], str] | None = None,
    **environment: str,
) -> Iterator[Recording]:
    """Put instrumentors in place; afterwards every run has ended and every wrapper is off.

    Args:
        instrumentors: Their classes.
        into: Where they record; into a new one by default.
        sampler: Decides which spans are recorded; by default all are.
        meters: Whether there is a meter provider.
        loggers: Whether there is a logger provider.
        redact: The user's hook for captured texts.
        environment: Variables in place of the kit's own.

    Yields:
        What they record; it may be read after the block too.
    """
    recording = into or Recording(sampler)
    with settings(**environment):
        for instrumentor in instrumentors:
            instrumentor().instrument(
                tracer_provider=recording.tracer_provider,
                meter_provider=recording.meter_provider if meters else None,
                logger_provider=recording.logger_provider if loggers else None,
                redact=redact,
            )
        try:
            yield recording
        finally:
            streams.end_open()
            runs.close_all()
            for instrumentor in reversed(instrumentors):
                instrumentor().uninstrument()
    assert recording.may_stay_open or recording.open == {}
