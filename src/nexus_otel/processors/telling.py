"""Findings told outside the trace: a log record, a counter, and callbacks on a thread of their own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from nexus_otel import _version, semconv
from nexus_otel._guard import guard, note_once, report, start_thread
from nexus_otel.detect.model import ERROR, INFO, Finding
from nexus_otel.genai.own import is_real, own

Callback = Callable[[Finding], None]

_SCOPE: Final = "nexus_otel.processors.live"
_MOST_WAITING: Final = 1_000
_waiting: queue.Queue[tuple[Callback, Finding]] = queue.Queue(_MOST_WAITING)
_thread: threading.Thread | None = None
_starting: Final = threading.Lock()


def tell(finding: Finding, agent: str | None, version: str | None, callbacks: Sequence[Callback]) -> None:
    """Tell a finding to whoever takes it: a meter provider, a logger provider, callbacks."""
    attributes = {semconv.FINDING_MODE: finding.mode, semconv.FINDING_LEVEL: finding.level}
    if agent is not None:
        attributes[semconv.AGENT_NAME] = agent
    with guard("counting a finding"):
        _count({**attributes, **({semconv.AGENT_VERSION: version} if version is not None else {})})
    with guard("emitting a finding"):
        _emit(finding, attributes)
    for callback in callbacks:
        _call(callback, finding)


def _count(attributes: dict[str, Any]) -> None:
    from opentelemetry import metrics

    provider = metrics.get_meter_provider()
    if not is_real(provider):
        provider = own.meter_provider
    if provider is None:
        return
    row = semconv.FINDINGS_METRIC
    meter = provider.get_meter(_SCOPE, _version.__version__, semconv.SCHEMA_URL)
    meter.create_counter(row.name, row.unit, row.meaning).add(1, attributes)


def _emit(finding: Finding, attributes: dict[str, Any]) -> None:
    from opentelemetry._logs import SeverityNumber, get_logger, get_logger_provider
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    from nexus_otel.genai.recorder import log_record

    provider: Any = get_logger_provider()
    if not is_real(provider):
        provider = own.logger_provider
    if provider is None:
        return
    level = {INFO: SeverityNumber.INFO, ERROR: SeverityNumber.ERROR}.get(finding.level, SeverityNumber.WARN)
    where = SpanContext(int(finding.trace_id, 16), int(finding.span_id, 16), is_remote=False, trace_flags=TraceFlags(1))
    logger = get_logger(_SCOPE, _version.__version__, provider, semconv.SCHEMA_URL)
    logger.emit(
        log_record(
            logger,
            timestamp=time.time_ns(),
            context=set_span_in_context(NonRecordingSpan(where)),
            severity_number=level,
            severity_text=level.name,
            event_name=semconv.FINDING_EVENT,
            body=finding.title,
            attributes={**attributes, semconv.FINDING_COUNT: finding.count, semconv.FINDING_TITLE: finding.title},
        )
    )


def _call(callback: Callback, finding: Finding) -> None:
    """Let a callback have a finding, on a thread of its own: a slow one holds nobody up."""
    global _thread  # noqa: PLW0603 - one thread for all of them
    with _starting:
        if _thread is None or not _thread.is_alive():
            _thread = start_thread("nexus-otel-findings", _work)
    if _thread is None:
        _called(callback, finding)
        return
    try:
        _waiting.put_nowait((callback, finding))
    except queue.Full:
        note_once("callbacks", "nexus-otel: callbacks of on_finding are too slow; findings are not told to them")


def _work() -> None:
    while True:
        _called(*_waiting.get())


def _called(callback: Callback, finding: Finding) -> None:
    try:
        callback(finding)
    except Exception as error:  # noqa: BLE001 - the application's; it is told, and the next one is called
        report("calling a callback of on_finding", error)
