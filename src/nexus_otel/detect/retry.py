"""Tools that are called again with the very input that failed (`failures.md` 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from nexus_otel.detect.evidence import grown, short, times
from nexus_otel.detect.facts import ToolFacts, tool_facts
from nexus_otel.detect.model import INFO, LOOP, RETRY, WARNING, AgentView, Finding, RunView, SpanView
from nexus_otel.detect.thresholds import Thresholds

_MOST: Final = 64


@dataclass(slots=True)
class _Failed:
    """A call that failed, and when it last did."""

    end_ns: int
    evidence: list[str]
    finding: Finding | None = None


@dataclass(slots=True)
class _Window:
    """The calls of one turn that failed, since one last succeeded; by their hash."""

    turn: int
    calls: dict[str, _Failed] = field(default_factory=dict)


class Retry:
    """Finds calls that repeat one that failed, and fail again, with nothing but failures in between.

    Level info where the error was one that passes and the agent let some time pass.
    """

    mode = RETRY

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds

    def seen(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a span that has ended."""
        facts = tool_facts(span, agent)
        if facts is None or facts.call is None:
            return ()
        window: _Window | None = agent.state.get(RETRY)
        if not facts.failed:
            if window is not None and not self._limits.is_note(facts.tool):
                window.calls.clear()
            return ()
        if window is None or window.turn != agent.turn:
            window = agent.state[RETRY] = _Window(agent.turn)
        return self._failed(facts, facts.call, span, window, run)

    def over(self, run: RunView) -> Iterable[Finding]:  # noqa: ARG002 - all is found as it happens
        """Take the end of a run."""
        return ()

    def _failed(self, facts: ToolFacts, call: str, span: SpanView, window: _Window, run: RunView) -> Iterable[Finding]:
        before = window.calls.get(call)
        if before is None:
            if len(window.calls) < _MOST:
                window.calls[call] = _Failed(span.end_ns, [span.span_id])
            return ()
        waited_ns = span.start_ns - before.end_ns
        before.end_ns = max(before.end_ns, span.end_ns)
        grown(before.evidence, span.span_id)
        if waited_ns < 0 or _in_a_loop(facts.tool, run):
            return ()
        patient = facts.transient and waited_ns >= self._limits.transient_wait_s * 1e9
        before.finding = _grown(before, facts, span, run, INFO if patient else WARNING)
        return (before.finding,)


def _in_a_loop(tool: str, run: RunView) -> bool:
    """Whether a loop of the run tells of the tool already."""
    return any(mode == LOOP and tool in found.data.get("tools", ()) for (mode, _key), found in run.found.items())


def _grown(failed: _Failed, facts: ToolFacts, span: SpanView, run: RunView, level: str) -> Finding:
    key = facts.tool, facts.call
    finding = (
        failed.finding
        or run.found.get((RETRY, key))
        or Finding(
            RETRY,
            level,
            "",
            run.trace_id,
            span.span_id,
            data={"tool": facts.tool, "class": facts.error_class, "cause": facts.cause},
            count=0,
            key=key,
        )
    )
    count = finding.count + 1
    return replace(
        finding,
        level=WARNING if WARNING in (level, finding.level) else level,
        title=f"{short(facts.tool)} was called again {times(count)} with the input that failed: {facts.error_class}",
        evidence=tuple(failed.evidence),
        count=count,
    )
