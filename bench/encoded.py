"""Where the spans of a benchmark go: encoded as for OTLP, and dropped."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON


class Encode(SpanExporter):
    """Encodes spans as the OTLP exporter does, and drops them; `count` says how many there were."""

    count = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.count += len(spans)
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def provider(*, sampled: bool = True, every_ms: int = 600_000, exporter: Encode | None = None) -> TracerProvider:
    """Return a provider as an application would have it; it exports every so often."""
    made = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    batches = BatchSpanProcessor(exporter or Encode(), max_queue_size=65_536, schedule_delay_millis=every_ms)
    made.add_span_processor(batches)
    return made
