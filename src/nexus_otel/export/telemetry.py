"""Exporters that write log records and metrics into the spool, for providers built elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk._logs import export as _logs
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)

from nexus_otel._environ import variables
from nexus_otel._guard import guard
from nexus_otel.export.segment import LOGS, METRICS
from nexus_otel.export.spool import Spool

_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_LogExporter: Any = getattr(_logs, "LogRecordExporter", None) or _logs.LogExporter
"""The interface; it had another name before SDK 1.39."""
_LogResult: Any = getattr(_logs, "LogRecordExportResult", None) or _logs.LogExportResult


class SpoolLogExporter(_LogExporter):  # type: ignore[misc]
    """Writes log records into a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def export(self, batch: Sequence[Any]) -> Any:
        with guard("recording log events"):
            self._spool.append(LOGS, _encoded(batch))
            return _LogResult.SUCCESS
        return _LogResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the interface's
        self._spool.flush()
        return True

    def shutdown(self) -> None:
        """Leave the spool open: the spans' processor closes it."""
        self._spool.flush()


def _encoded(batch: Sequence[Any]) -> bytes:
    """Return log records as a request; an event without a body has none.

    The SDK's encoder (1.45) writes an empty value there, which receivers in Rust refuse in JSON (opentelemetry-rust
    issue 3598), with everything else in the request.
    """
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

    request = encode_logs(batch)
    for around in request.resource_logs:
        for scoped in around.scope_logs:
            for record in scoped.log_records:
                if record.body.WhichOneof("value") is None:
                    record.ClearField("body")
    encoded: bytes = request.SerializeToString()
    return encoded


class SpoolMetricExporter(MetricExporter):
    """Writes metrics into a spool that has a destination for them; else they go nowhere."""

    def __init__(self, spool: Spool) -> None:
        super().__init__(preferred_temporality=_temporality())
        self._spool = spool
        self._wanted = any(target.signal == "metrics" for target in spool.targets)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002 - the interface's
        **_kwargs: Any,
    ) -> MetricExportResult:
        if not self._wanted:
            return MetricExportResult.SUCCESS
        with guard("recording metrics"):
            from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

            self._spool.append(METRICS, encode_metrics(metrics_data).SerializeToString())
            return MetricExportResult.SUCCESS
        return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the interface's
        self._spool.flush()
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:  # noqa: ARG002 - the interface's
        self._spool.flush()


def _temporality() -> dict[type, AggregationTemporality] | None:
    """Return what the standard variable prefers: cumulative, delta or lowmemory."""
    wanted = variables().get(_TEMPORALITY, "").strip().lower()
    kinds: dict[str, tuple[type, ...]] = {
        "delta": (Counter, Histogram, ObservableCounter),
        "lowmemory": (Counter, Histogram),
    }
    return dict.fromkeys(kinds.get(wanted, ()), AggregationTemporality.DELTA) or None
