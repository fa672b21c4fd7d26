"""Failure modes told while a run goes on: on the span, on the run's root, in the log, as a metric, to a callback.

Spans of ours are looked at before they end, so that the finding is on the very span; those of others after, and the
finding is on the nearest span above that is open (`contract.md` section 5).
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from nexus_otel import config, semconv
from nexus_otel._guard import guard, new_lock, report
from nexus_otel.detect.all import detectors
from nexus_otel.detect.detection import MAX_OPEN, Detection
from nexus_otel.detect.model import INFO, LEVELS, LOOP, Finding, SpanView
from nexus_otel.engine.limits import LoopDetected, stopped
from nexus_otel.genai.ending import looks
from nexus_otel.processors import detecting
from nexus_otel.processors.history import History
from nexus_otel.processors.telling import tell

log: Final = logging.getLogger("nexus_otel.findings")
log.addHandler(logging.NullHandler())

_OURS: Final = "nexus_otel."
_MOST_TRACES: Final = 10_000
_STARTING: Final = guard("following a run")
_KEEPING: Final = guard("keeping how long steps take")
_LOOKING: Final = guard("looking for failure modes")


@dataclass(slots=True)
class _Trace:
    """One trace that is followed.

    Attributes:
        root: The span of its first run.
        open: Its open spans, weakly, with their views: a finding in a span that has ended is told on the nearest above.
        told: The level and the stage at which each finding was told last.
        waiting: Findings of level info, with agent and version: told outside when they rise or the trace ends.
    """

    root: Any = None
    open: dict[int, tuple[weakref.ref[Any], SpanView]] = field(default_factory=dict)
    told: dict[Any, tuple[int, float]] = field(default_factory=dict)
    waiting: dict[Any, tuple[Finding, str | None, str | None]] = field(default_factory=dict)


class Live:
    """What is known of the runs of this process."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._following: Detection | None = None
        self._history: History | None = None
        self._traces: OrderedDict[int, _Trace] = OrderedDict()
        self.callbacks: list[Callable[[Finding], None]] = []
        looks.append(self.look)

    @property
    def _detection(self) -> Detection:
        """What follows runs, made with the first of them: the settings are known then."""
        if self._following is None:
            settings = config.current()
            self._history = History(self._lock)
            asked = detectors(detecting.thresholds(settings), detecting.limits(settings), self._history.baselines)
            self._following = Detection(
                asked, lambda mode, error: report(f"looking for {mode}", error), forgot=self._forget
            )
        return self._following

    def _forget(self, trace_id: str) -> None:
        self._traces.pop(int(trace_id, 16), None)
        stopped.forget(int(trace_id, 16))

    def close(self) -> None:
        """Keep how long steps took, for the next process."""
        if self._history is not None:
            self._history.close()

    # -- spans ---------------------------------------------------------------------------------------------------------

    def begins(self, span: Span) -> None:
        """Take a span that begins: of a run, or inside one."""
        context = span.context
        is_genai = semconv.OPERATION in _attributes(span)
        if not is_genai and context.trace_id not in self._traces:
            return
        with self._lock:
            trace = self._traces.get(context.trace_id)
            if trace is None:
                trace = self._traces[context.trace_id] = _Trace()
                if len(self._traces) > _MOST_TRACES:
                    self._traces.popitem(last=False)
            here, view = weakref.ref(span), _begun(span)
            if len(trace.open) < MAX_OPEN:
                trace.open[context.span_id] = here, view
            if trace.root is None and is_genai:
                trace.root = here
            self._detection.begins(view)

    def look(self, span: Any, end_ns: int | None) -> None:
        """Look at a span of ours that is about to end."""
        if isinstance(span, Span) and span.is_recording():
            self._ends(span, end_ns or time.time_ns(), told_on_it=True)

    def ended(self, span: ReadableSpan) -> None:
        """Take a span that has ended: of others, it is looked at now."""
        context, scope = span.context, span.instrumentation_scope
        if context is None or context.trace_id not in self._traces:
            return
        if scope is None or not scope.name.startswith(_OURS):
            self._ends(span, span.end_time or time.time_ns(), told_on_it=False)
        with self._lock:
            trace = self._traces.get(context.trace_id)
            if trace is not None:
                trace.open.pop(context.span_id, None)
                if not trace.open:
                    del self._traces[context.trace_id]
                    stopped.forget(context.trace_id)
                    if self._history is not None:
                        self._history.run_ended()
        if trace is not None and not trace.open:
            for waiting in trace.waiting.values():
                tell(*waiting, self.callbacks)

    def _ends(self, span: ReadableSpan, end_ns: int, *, told_on_it: bool) -> None:
        context = span.context
        trace = self._traces.get(context.trace_id) if context is not None else None
        if context is None or trace is None:
            return
        begun = trace.open.get(context.span_id)
        view = _ended(begun[1], span, end_ns) if begun is not None else _view(span, end_ns)
        with self._lock:
            found = self._detection.ends(view)
        for finding in found:
            here = told_on_it and (finding.span_id == view.span_id or not view.parent_id)
            self._tell(trace, finding, span if here else self._above(span), span)

    def _above(self, span: ReadableSpan) -> Any:
        """Return the nearest span above one that is open."""
        parent = span.parent
        trace = self._traces.get(parent.trace_id) if parent is not None else None
        while trace is not None and parent is not None:
            held = trace.open.get(parent.span_id)
            found = held[0]() if held is not None else None
            if found is not None and found.is_recording():
                return found
            parent = getattr(found, "parent", None)
        return trace.root() if trace is not None and trace.root is not None else None

    # -- findings ------------------------------------------------------------------------------------------------------

    def _tell(self, trace: _Trace, finding: Finding, target: Any, span: ReadableSpan) -> None:
        """Tell a finding: once for each level it comes to; a warning of a later stage is one more line of the log."""
        key, level = (finding.mode, finding.key), LEVELS.index(finding.level)
        told, stage = trace.told.get(key, (-1, 0.0))
        if level < told or (level == told and finding.stage <= stage):
            return
        trace.told[key] = level, finding.stage
        if finding.level != INFO:
            log.warning("nexus-otel: %s: %s (run %s)", finding.mode, finding.title, finding.trace_id[:8])
        if level == told:
            return
        if target is not None and target.is_recording():
            target.add_event(semconv.FINDING_EVENT, event_of(finding))
        root = trace.root() if trace.root is not None else None
        if root is not None and root.is_recording():
            self._mark(root, trace, finding)
        agent = _attribute(root, semconv.AGENT_NAME), _attribute(root, semconv.AGENT_VERSION)
        if finding.level == INFO:
            trace.waiting[key] = finding, *agent
            return
        self._stop(finding, span)
        trace.waiting.pop(key, None)
        tell(finding, *agent, self.callbacks)

    def _mark(self, root: Any, trace: _Trace, finding: Finding) -> None:
        modes = sorted({mode for mode, _key in trace.told})
        root.set_attribute(semconv.FINDINGS, modes)
        if finding.level != INFO:
            root.set_attribute(semconv.KEEP, f"finding: {finding.mode}")

    def _stop(self, finding: Finding, span: ReadableSpan) -> None:
        """Let the next model call of a run in a loop raise, where that was asked for."""
        if finding.mode == LOOP and span.context is not None:
            error = LoopDetected(
                finding.title, {"count": finding.count, "spans": list(finding.evidence), **finding.data}
            )
            stopped.stop(span.context.trace_id, error)


class LiveProcessor(SpanProcessor):
    """Hands the spans of a provider to the one that follows runs."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the interface's
        with _STARTING:
            live().begins(span)

    def on_end(self, span: ReadableSpan) -> None:
        with _LOOKING:
            live().ended(span)

    def shutdown(self) -> None:
        with _KEEPING:
            live().close()


_live: Live | None = None
_making: Final = new_lock()


def live() -> Live:
    """Return what is known of the runs of this process."""
    global _live  # noqa: PLW0603 - one process
    if _live is None:
        with _making:
            _live = _live or Live()
    return _live


def event_of(finding: Finding) -> dict[str, Any]:
    """Return the attributes of the event that a finding is."""
    return {
        semconv.FINDING_MODE: finding.mode,
        semconv.FINDING_LEVEL: finding.level,
        semconv.FINDING_TITLE: finding.title,
        semconv.FINDING_COUNT: finding.count,
        semconv.FINDING_EVIDENCE: list(finding.evidence),
    }


def _attribute(span: Any, name: str) -> str | None:
    value = (getattr(span, "attributes", None) or {}).get(name)
    return str(value) if value is not None else None


def _attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """Return the attributes of a span for many reads: through the SDK's own view each costs a microsecond (1.45)."""
    held = getattr(getattr(span, "_attributes", None), "_dict", None)
    return held if isinstance(held, dict) else dict(span.attributes or {})


def _view(span: ReadableSpan, end_ns: int) -> SpanView:
    return _ended(_begun(span), span, end_ns)


def _begun(span: ReadableSpan) -> SpanView:
    context, parent = span.context, span.parent
    return SpanView(
        trace_id=format_trace_id(context.trace_id) if context is not None else "",
        span_id=format_span_id(context.span_id) if context is not None else "",
        parent_id=format_span_id(parent.span_id) if parent is not None and not parent.is_remote else "",
        name=span.name,
        start_ns=span.start_time or 0,
        end_ns=0,
        attributes=_attributes(span),
        resource=span.resource.attributes,
    )


def _ended(view: SpanView, span: ReadableSpan, end_ns: int) -> SpanView:
    """Return the view of a span that has begun with what is known at its end."""
    status = span.status
    view.rename(_attributes(span))
    view.name, view.end_ns, view.facts = span.name, end_ns, None
    view.failed, view.message = status.status_code is StatusCode.ERROR, status.description or ""
    held = getattr(span, "_events", None)
    if held is None or len(held):
        view.events = [(event.name, event.timestamp, event.attributes or {}) for event in span.events]
    return view
