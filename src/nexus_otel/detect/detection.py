"""Spans in, findings out: follows runs as their spans begin and end, and asks every detector."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.model import MODEL, RUNS, AgentView, Detector, Finding, RunView, SpanView
from nexus_otel.detect.normalise import normalised
from nexus_otel.detect.offered import learn, tool_ended, user_turn
from nexus_otel.semconv import EXECUTE_TOOL

MAX_RUNS: Final = 10_000
"""Runs that are followed at a time; the least active is given up and counted (`failures.md` 3.6)."""
IDLE_NS: Final = 600 * 1_000_000_000
"""A run without a span for this long is over."""
MAX_OPEN: Final = 4_096
"""Open spans of one run that are remembered."""
MAX_AGENTS: Final = 256
_ORIGIN: Final = "origin"


class Detection:
    """Follows runs.

    Args:
        detectors: In the order in which they are asked.
        broken: Told of an exception of a detector, with the detector's mode: it goes on with the next span.
        forgot: Told of a run that is given up unfinished, by its trace.
        stored: Whether the spans are stored ones: the first one's parent may be missing, and others follow.

    Attributes:
        forgotten: How many runs were given up unfinished.
        skipped: How many spans a detector could not read.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        broken: Callable[[str, Exception], None] | None = None,
        forgot: Callable[[str], None] | None = None,
        *,
        stored: bool = False,
    ) -> None:
        self._detectors = detectors
        self._asked_each = [(detector.mode, detector.seen) for detector in detectors]
        self._broken = broken
        self._forgot = forgot
        self._stored = stored
        self._runs: OrderedDict[str, _Followed] = OrderedDict()
        self.forgotten = 0
        self.skipped = 0

    def begins(self, span: SpanView) -> None:
        """Take a span that begins: those inside it are its agent's."""
        self._name(span)
        run = self._run(span)
        if len(run.open) < MAX_OPEN:
            run.open[span.span_id] = span.parent_id
        if span.operation in RUNS:
            run.agent(span)

    def ends(self, span: SpanView) -> list[Finding]:
        """Take a span that ends; returns what is found now, new or grown."""
        self._name(span)
        run = self._run(span)
        run.view.last_ns = max(run.view.last_ns, span.end_ns)
        agent = run.agent_of(span)
        if span.operation in MODEL:
            try:
                _read_model_call(span, agent, run.view)
            except Exception as error:  # noqa: BLE001 - as below
                self._skip("offered", error)
        elif span.operation == EXECUTE_TOOL:
            tool_ended(agent)
        found: list[Finding] = []
        view = run.view
        for mode, seen in self._asked_each:
            try:
                if new := seen(span, agent, view):
                    found.extend(new)
            except Exception as error:  # noqa: BLE001 - a span may be anything: the next one is read all the same
                self._skip(mode, error)
        if not run.closes(span, stored=self._stored):
            return _kept(run.view, found)
        del self._runs[span.trace_id]
        return _kept(run.view, [*found, *self._over(run.view)])

    def over(self, trace_id: str) -> list[Finding]:
        """Take the end of a trace, whatever of it is still open."""
        run = self._runs.pop(trace_id, None)
        return _kept(run.view, self._over(run.view)) if run is not None else []

    def found(self, trace_id: str) -> list[Finding]:
        """Return everything that was found so far in a trace that is followed."""
        run = self._runs.get(trace_id)
        return list(run.view.found.values()) if run is not None else []

    def view(self, trace_id: str) -> RunView | None:
        """Return a run that is followed."""
        run = self._runs.get(trace_id)
        return run.view if run is not None else None

    def _over(self, run: RunView) -> list[Finding]:
        return [
            finding
            for detector in self._detectors
            for finding in self._asked(detector.mode, partial(detector.over, run))
        ]

    def _run(self, span: SpanView) -> _Followed:
        run = self._runs.get(span.trace_id)
        if run is None:
            run = self._runs[span.trace_id] = _Followed(span)
            self._forget(span.start_ns)
        else:
            self._runs.move_to_end(span.trace_id)
        return run

    def _forget(self, now_ns: int) -> None:
        while self._runs:
            trace_id, oldest = next(iter(self._runs.items()))
            idle = now_ns - max(oldest.view.last_ns, oldest.view.start_ns) > IDLE_NS and len(self._runs) > 1
            if len(self._runs) <= MAX_RUNS and not idle:
                return
            del self._runs[trace_id]
            self.forgotten += 1
            if self._forgot is not None:
                self._forgot(trace_id)

    def _asked(self, mode: str, ask: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
        found: list[Finding] = []
        self._guarded(mode, lambda: found.extend(ask()))
        yield from found

    def _guarded(self, mode: str, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - as above
            self._skip(mode, error)

    def _name(self, span: SpanView) -> None:
        """Give a span's attributes the names of the conventions."""
        try:
            attributes = normalised(span.attributes)
            if attributes is not span.attributes:
                span.rename(attributes)
        except Exception as error:  # noqa: BLE001 - as below
            self._skip("names", error)

    def _skip(self, mode: str, error: Exception) -> None:
        self.skipped += 1
        if self._broken is not None:
            self._broken(mode, error)


class _Followed:
    """A run with its open spans."""

    __slots__ = ("open", "view")

    def __init__(self, span: SpanView) -> None:
        self.view = RunView(span.trace_id, span.span_id, span.start_ns, span.start_ns)
        self.open: dict[str, str] = {}

    def agent(self, span: SpanView) -> AgentView:
        """Return the agent that a span of a run is."""
        agents = self.view.agents
        found = agents.get(span.span_id)
        if found is None and len(agents) < MAX_AGENTS:
            name = span.attributes.get("gen_ai.agent.name") or span.attributes.get("gen_ai.workflow.name") or ""
            found = agents[span.span_id] = AgentView(span.span_id, str(name))
        return found or self._outermost()

    def agent_of(self, span: SpanView) -> AgentView:
        """Return the nearest agent above a span; the run itself where there is none."""
        if span.operation in RUNS:
            return self.agent(span)
        above = span.parent_id or self.open.get(span.span_id, "")
        for _ in range(64):
            if above in self.view.agents:
                return self.view.agents[above]
            if not above or above not in self.open:
                break
            above = self.open[above]
        return self._outermost()

    def _outermost(self) -> AgentView:
        return self.view.agents.setdefault(_ORIGIN, AgentView(_ORIGIN, ""))

    def closes(self, span: SpanView, *, stored: bool) -> bool:
        """Know that a span has ended; returns whether nothing of the run is open any more."""
        self.open.pop(span.span_id, None)
        if self.open:
            return False
        first = span.span_id == self.view.root_id and not (stored and span.operation not in RUNS)
        return first or not span.parent_id


def _read_model_call(span: SpanView, agent: AgentView, run: RunView) -> None:
    run.steps += 1
    output = span.number(semconv.USAGE_OUTPUT) or 0
    run.tokens += (span.number(semconv.USAGE_INPUT) or 0) + output
    run.output_tokens += output
    run.model = span.attributes.get(semconv.REQUEST_MODEL) or run.model
    run.provider = span.attributes.get(semconv.PROVIDER) or run.provider
    learn(agent.offered, span)
    agent.turn += user_turn(agent, span)


def _kept(run: RunView, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, each once, and remember them: a later one of the same key is the earlier one's update."""
    if not findings:
        return []
    latest: dict[tuple[str, Any], Finding] = {}
    for finding in findings:
        latest[finding.mode, finding.key] = finding
    run.found.update(latest)
    return list(latest.values())
