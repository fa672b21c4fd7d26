"""Steps that take much longer than they usually do, and why (`failures.md` 3.5)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect import covering
from nexus_otel.detect.baselines import Baselines, Usual
from nexus_otel.detect.critical import STEPS, Step, largest
from nexus_otel.detect.evidence import grown, short
from nexus_otel.detect.facts import ModelFacts, model_facts, tool_facts
from nexus_otel.detect.model import INFO, LATENCY_SPIKE, RUNS, WARNING, AgentView, Finding, RunView, SpanView
from nexus_otel.detect.thresholds import Thresholds

_MOST_PARENTS: Final = 1_024
_MOST_STEPS: Final = 128
_MOST_FINDINGS: Final = 64
_BETWEEN: Final = "between"
"""In place of the operation of a tool that nobody watched: a person may have sat in between."""
_AGAIN: Final = frozenset({408, 409, 429})
_SERVER: Final = 500


@dataclass(slots=True)
class _State:
    """What is kept of one run.

    Attributes:
        inside: What the children of each open span cover of its time.
        tried: For each open span, when the last try ended that a provider refused, as an HTTP span told.
        steps: The last steps, as `Step` has them.
        evidence: The spans that show each finding.
    """

    inside: dict[str, list[covering.Interval]] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    steps: deque[tuple[str, str, int, int, float]] = field(default_factory=lambda: deque(maxlen=_MOST_STEPS))
    evidence: dict[Any, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Timed:
    """A step with its self time: what it is, of whom, and how many tokens it put out."""

    operation: str
    of: str
    seconds: float
    tokens: int | None
    model: ModelFacts | None

    @property
    def derived(self) -> bool:
        """Whether nobody watched it."""
        return self.operation == _BETWEEN


class LatencySpike:
    """Finds steps that are slow for what they are, and time in which nothing was recorded.

    Args:
        thresholds: When it is told.
        baselines: How long things usually take, in this process and in earlier ones.
    """

    mode = LATENCY_SPIKE

    def __init__(self, thresholds: Thresholds, baselines: Baselines | None = None) -> None:
        self._limits = thresholds
        self._baselines = baselines if baselines is not None else Baselines()

    def seen(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a span that has ended."""
        state: _State = run.state.get(LATENCY_SPIKE) or run.state.setdefault(LATENCY_SPIKE, _State())
        inside = state.inside.pop(span.span_id, None)
        operation = span.operation
        if span.parent_id:
            _note_child(state, span, operation, inside, run)
        if operation in STEPS:
            return self._step(span, operation, inside, agent, run, state)
        return self._gap(span, inside, state, run) if inside is not None and operation in RUNS else ()

    def over(self, run: RunView) -> Iterable[Finding]:
        """Take the end of a run: what was slow is told with the critical path."""
        state: _State | None = run.state.get(LATENCY_SPIKE)
        if state is None or not state.evidence:
            return
        path = largest((Step(*step) for step in state.steps), (run.last_ns - run.start_ns) / 1e9)
        for (mode, _key), finding in list(run.found.items()):
            if mode == LATENCY_SPIKE:
                yield replace(finding, data=finding.data | {"critical_path": path})

    # -- one step ------------------------------------------------------------------------------------------------------

    def _step(  # noqa: PLR0913, PLR0917 - every span comes here
        self, span: SpanView, operation: str, inside: list[covering.Interval] | None, agent: AgentView, run: RunView,
        state: _State,
    ) -> Iterable[Finding]:  # fmt: skip
        seconds = max(0, span.end_ns - span.start_ns) / 1e9
        if inside is not None:
            seconds = max(0.0, seconds - covering.seconds(inside))
        model: ModelFacts | None = None
        if operation == semconv.EXECUTE_TOOL:
            tool = tool_facts(span, agent)
            if tool is None:  # two libraries recorded one call, and this is the outer span
                return ()
            operation, of, tokens = (_BETWEEN if tool.derived else operation), tool.tool, None
        elif (model := model_facts(span, agent)) is not None:
            of, tokens = model.model, model.output_tokens
        else:
            of, tokens = str(span.attributes.get(semconv.DATA_SOURCE) or ""), None
        state.steps.append((span.name, span.span_id, span.start_ns, span.end_ns, seconds))
        found: Iterable[Finding] = ()
        if seconds >= (self._limits.slow_model_s if model is not None else self._limits.slow_tool_s):
            found = self._slow(_Timed(operation, of, seconds, tokens, model), span, state, run)
        if not span.failed:
            self._baselines.add(operation, of, seconds, tokens)
        return found

    def _slow(self, timed: _Timed, span: SpanView, state: _State, run: RunView) -> Iterable[Finding]:
        judged = self._judged(timed, span, run)
        if judged is None:
            return ()
        level, title, usual_s = judged
        cause = _cause(span, timed, state.tried.get(span.span_id, 0))
        data = {"seconds": round(timed.seconds, 3), "usual_s": usual_s and round(usual_s, 3), "why": cause}
        data |= {"of": timed.of, "cause": f"{timed.of}:{cause}"}
        if timed.derived or span.failed:
            level = INFO
        return _found(level, f"{title}; cause: {_WORDS[cause]}", data, [span.span_id], state, run, ("slow", span.name))

    def _judged(self, timed: _Timed, span: SpanView, run: RunView) -> tuple[str, str, float | None] | None:
        """Return how bad it is, in words, and the seconds that are usual; None for what is not slow."""
        limits, seconds = self._limits, timed.seconds
        run_s = (max(run.last_ns, span.end_ns) - run.start_ns) / 1e9
        if seconds < limits.slow_share * run_s or limits.may_be_slow(timed.of):
            return None
        said = f"{short(span.name)} took {seconds:.1f} s"
        if timed.derived:
            said = f"{seconds:.1f} s between two model calls, in which {short(timed.of)} ran"
        usual = self._baselines.usual(timed.operation, timed.of, timed.tokens)
        hard = limits.hard_model_s if timed.model is not None else limits.hard_tool_s
        if usual is None:
            explained = timed.tokens is not None and seconds <= limits.slow_token_s * timed.tokens
            return (WARNING, f"{said} (no baseline yet)", None) if seconds >= hard and not explained else None
        if not self._is_slow(timed, usual):
            return None
        of_what = "what such an answer usually takes" if usual.by_tokens else "the usual"
        if not usual.own:
            of_what = f"what is usual for {timed.operation}"
        level = WARNING if usual.own or seconds >= hard else INFO
        return level, f"{said}, {seconds / usual.seconds:.1f} times {of_what}: {usual.seconds:.1f} s", usual.seconds

    def _is_slow(self, timed: _Timed, usual: Usual) -> bool:
        limits, seconds = self._limits, timed.seconds
        least = limits.slow_model_s if timed.model is not None else limits.slow_tool_s
        times = limits.slow_times_expected if usual.by_tokens else limits.slow_times
        deviations = math.log(seconds / usual.seconds) / max(usual.deviation, limits.slow_floor)
        return deviations >= limits.slow_z and seconds >= times * usual.seconds and seconds - usual.seconds >= least

    def _gap(
        self, span: SpanView, inside: list[covering.Interval], state: _State, run: RunView
    ) -> Iterable[Finding]:  # fmt: skip
        seconds, usual_s, before, after = covering.largest_gap(inside)
        limits = self._limits
        if seconds < max(limits.gap_s, limits.slow_share * span.seconds, limits.slow_times * usual_s):
            return ()
        title = f"{seconds:.1f} s between two steps with nothing recorded"
        data = {"seconds": round(seconds, 3), "usual_s": None, "why": "gap", "cause": f"gap:{span.span_id}"}
        return _found(INFO, title, data, [before, after], state, run, ("gap", span.span_id))


def _found(  # noqa: PLR0913, PLR0917 - one place where all of it meets
    level: str, title: str, data: dict[str, Any], span_ids: list[str], state: _State, run: RunView, key: Any
) -> Iterable[Finding]:
    earlier = run.found.get((LATENCY_SPIKE, key))
    if earlier is None and len(state.evidence) >= _MOST_FINDINGS:
        return ()
    evidence = state.evidence.setdefault(key, [])
    for span_id in span_ids:
        grown(evidence, span_id)
    count = 1 if earlier is None else earlier.count + 1
    if earlier is not None and earlier.level == WARNING and level == INFO:
        level, title, data = earlier.level, earlier.title, earlier.data
    return (
        Finding(LATENCY_SPIKE, level, title, run.trace_id, span_ids[-1], tuple(evidence), data, None, count, key),
    )  # fmt: skip


_WORDS: Final = {
    "retry_backoff": "retries and the waits between them",
    "queue_or_network": "the time to the first token, a queue or the network",
    "model": "the model",
    "tool": "the tool",
    "between": "not known, nobody watched the tool",
}


def _cause(span: SpanView, timed: _Timed, tried_ns: int) -> str:
    """Return what took the time: a key of `_WORDS`."""
    if timed.derived:
        return "between"
    half_ns = span.start_ns + (span.end_ns - span.start_ns) / 2
    waited = 0.0
    for name, at_ns, attributes in span.events:
        if name == semconv.RETRY_EVENT:
            wait = attributes.get(semconv.RETRY_WAIT)
            wait_s = float(wait) if isinstance(wait, int | float) and 0 <= wait <= span.seconds else 0.0
            waited += wait_s
            tried_ns = max(tried_ns, at_ns + int(wait_s * 1e9))
    if tried_ns >= half_ns or waited >= span.seconds / 2:
        return "retry_backoff"
    if timed.model is None:
        return "tool"
    first = timed.model.first_chunk_s
    return "queue_or_network" if first is not None and first >= span.seconds / 2 else "model"


def _note_child(
    state: _State, span: SpanView, operation: str, inside: list[covering.Interval] | None, run: RunView
) -> None:  # fmt: skip
    """Add what a child covers of its parent's time.

    Of an agent's time, every span does; of a step's, what is itself a step or an agent, for what an HTTP call takes is
    the step's own. Spans of neither kind hand on what is inside them.
    """
    parent = span.parent_id
    own = (span.start_ns, span.end_ns, span.span_id, span.span_id)
    new = (own,) if operation or parent in run.agents else inside
    if new:
        covered = state.inside.get(parent)
        if covered is None:
            covered = _opened(state, parent)
        for one in new:
            covering.add(covered, one)
    if not operation and semconv.STATUS_CODE in span.attributes and len(state.tried) < _MOST_PARENTS:
        status = span.attributes[semconv.STATUS_CODE]
        if isinstance(status, int) and (status in _AGAIN or status >= _SERVER):
            state.tried[parent] = max(state.tried.get(parent, 0), span.end_ns)


def _opened(state: _State, parent: str) -> list[covering.Interval]:
    covered = state.inside[parent] = []
    if len(state.inside) > _MOST_PARENTS:
        del state.inside[next(iter(state.inside))]
    return covered
