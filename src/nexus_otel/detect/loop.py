"""Agents that go in circles: a call, a cycle of calls, an error, a question, a handover (`failures.md` 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.evidence import short, times
from nexus_otel.detect.facts import ToolFacts, model_facts, tool_facts
from nexus_otel.detect.handover import Handovers, hands_over
from nexus_otel.detect.model import INFO, LOOP, RUNS, WARNING, AgentView, Finding, RunView, SpanView
from nexus_otel.detect.repeating import Call, Streak, Window
from nexus_otel.detect.reworded import reworded
from nexus_otel.detect.thresholds import Thresholds

_MOST_SEEN: Final = 4_096
_SHOWN: Final = 200
_MOST_TOOLS: Final = 5
_NOTES, _WAITS, _HANDS_OVER, _ACTS = "notes", "waits", "hands over", "acts"


@dataclass(slots=True)
class _Agent:
    """What is kept for an agent.

    Attributes:
        models: Its model calls so far, and `model_ns` the time of those since its latest tool call.
        last_end_ns: The latest end of a tool call.
        waited: Whether that was one that only waits.
    """

    window: Window
    models: int = 0
    model_ns: int = 0
    round: int = 0
    last_end_ns: int = 0
    waited: bool = False


@dataclass(slots=True)
class _Run:
    """What is kept for a run: which calls it has seen, and how agents hand over."""

    seen: dict[str, None] = field(default_factory=dict)
    calls: int = 0
    again: int = 0
    evidence: list[str] = field(default_factory=list)
    handovers: Handovers = field(default_factory=Handovers)


class Loop:
    """Finds repetition that brings nothing new: answers are compared, not only calls.

    One finding for each cause: an equal error or answer of a tool, or a cycle. Polling is reported by the thirtieth
    equal answer; after half an hour of fewer ones at level info, for a long job may be polled so.
    """

    mode = LOOP

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds
        self._kinds: dict[str, str] = {}

    def seen(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a span that has ended."""
        facts = tool_facts(span, agent)
        if facts is not None:
            return self._call(facts, span, agent, run)
        model = model_facts(span, agent)
        if model is not None:
            state = _agent(agent)
            state.models += 1
            state.model_ns += max(0, span.end_ns - span.start_ns)
            _run(run).handovers.model(span, model.output_tokens, self._limits)
        elif span.operation in RUNS and span.parent_id:
            return _run(run).handovers.agent(span, run, self._limits)
        return ()

    def over(self, run: RunView) -> Iterable[Finding]:  # noqa: ARG002 - all is found as it happens
        """Take the end of a run."""
        return ()

    def _call(self, facts: ToolFacts, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        kind = self._kinds.get(facts.tool)
        if kind is None:
            kind = self._kind(facts.tool)
        if kind == _NOTES:
            return ()
        state, whole = _agent(agent), _run(run)
        call = self._entry(facts, span, state, run)
        if kind == _HANDS_OVER and not facts.failed:
            return whole.handovers.tool(facts.tool, span, run, self._limits)
        call.waits = kind == _WAITS or facts.form == "pending"
        polls = call.waits or call.idle_ns >= self._limits.poll_gap_s * 1e9 or state.waited
        state.waited = kind == _WAITS
        if not polls and _count(whole, call):
            whole.handovers.progress()
        state.window.add(call, self._limits)
        found = [*self._in_window(state.window, call, agent, run)]
        if not found:
            found += self._no_progress(whole, call, run)
        return found

    def _entry(self, facts: ToolFacts, span: SpanView, state: _Agent, run: RunView) -> Call:
        if state.models:
            state.round = state.models
        elif span.start_ns >= state.last_end_ns:  # no model call was recorded: what overlaps was asked for at once
            state.round += 1
        idle_ns = span.start_ns - state.last_end_ns - state.model_ns if state.last_end_ns else 0
        state.model_ns = 0
        state.last_end_ns = max(state.last_end_ns, span.end_ns)
        same = facts.call + facts.answer if facts.call is not None and facts.answer is not None else None
        return Call(facts, span, same, state.round, idle_ns, run.tokens, output=run.output_tokens)

    def _kind(self, tool: str) -> str:
        """Return what a tool is for where that matters here, by its name."""
        if self._limits.is_note(tool):
            kind = _NOTES
        elif self._limits.is_wait(tool):
            kind = _WAITS
        else:
            kind = _HANDS_OVER if hands_over(tool) else _ACTS
        if len(self._kinds) < _MOST_SEEN:
            self._kinds[tool] = kind
        return kind

    def _in_window(self, window: Window, call: Call, agent: AgentView, run: RunView) -> Iterator[Finding]:
        period = window.cycle(self._limits)
        if period is not None:
            found = self._cycle(window, period, agent, run)
            if found is not None:
                yield found
                return
        streak = window.errors.get(call.facts.tool) if call.facts.failed else window.streak
        if call.facts.failed and streak is not None and streak.rounds < 2 * self._limits.loop_calls:
            streak = None if window.goes_round() else streak
        if streak is not None and (level := self._level(streak)) is not None:
            found = self._repeat(streak, level, agent, run)
            if found is not None:
                yield found
        elif not call.facts.failed:
            yield from reworded(window.reworded, call, agent, run, self._limits)

    def _level(self, streak: Streak) -> str | None:
        """Return how grave calls that repeat one another are; None where they are too few."""
        limits, facts = self._limits, streak.last.facts
        if streak.calls >= limits.poll_calls:
            return WARNING
        if streak.rounds < limits.loop_calls:
            return None
        if facts.transient and streak.rounds - 1 <= 2 * streak.waits:
            return WARNING if streak.rounds >= limits.transient_calls else None
        if streak.polls:
            return INFO if streak.seconds >= limits.poll_s else None
        return WARNING

    # -- findings ------------------------------------------------------------------------------------------------------

    def _repeat(self, streak: Streak, level: str, agent: AgentView, run: RunView) -> Finding | None:
        facts = streak.last.facts
        if _told(agent, run, {facts.tool}, "cycle"):
            return None
        kind = "same_error" if facts.failed and not streak.equal else "same_call"
        data = {"kind": kind, "tools": [facts.tool], "period": 1, "cause": facts.cause}
        data |= _spent(streak.second, streak.last, run) | _came_back(streak.last)
        if streak.differs:
            data["differs"] = list(streak.differs)
        if streak.polls:
            data["polling"] = True
        title = _repeat_title(streak)
        key = agent.name, facts.cause
        return _made(key, level, title, tuple(streak.evidence), data, streak.calls, run, agent)

    def _cycle(self, window: Window, period: int, agent: AgentView, run: RunView) -> Finding | None:
        repeats = window.cycles[period] // period + 1
        calls = window.calls[-repeats * period :]
        round_ = calls[-period:]
        tools = list(dict.fromkeys(call.facts.tool for call in round_))
        seconds = (calls[-1].span.end_ns - calls[0].span.start_ns) / 1e9
        level = WARNING
        if any(call.waits for call in round_) and repeats < self._limits.poll_calls:
            if seconds < self._limits.poll_s:
                return None
            level = INFO
        if _told(agent, run, set(tools), "same_call", "same_error"):
            return None
        second = calls[min(len(calls) - 1, 2 * period - 1)]
        cause = "cycle:" + ",".join(sorted(tools))
        data = {"kind": "cycle", "tools": tools, "period": period, "cause": cause, **_spent(second, calls[-1], run)}
        data["calls"] = [{"tool": call.facts.tool, **_came_back(call)} for call in round_[:_MOST_TOOLS]]
        names = ", ".join(map(short, tools[:_MOST_TOOLS]))
        title = f"the same {period} calls of {names} with the same answers, {times(repeats)} over"
        evidence = tuple(call.span.span_id for call in calls)
        return _made((agent.name, cause), level, title, evidence, data, len(calls), run, agent)

    def _no_progress(self, whole: _Run, call: Call, run: RunView) -> Iterable[Finding]:
        limits = self._limits
        if run.steps < limits.step_limit or whole.calls < limits.seen_calls:
            return ()
        if whole.again < limits.seen_share * whole.calls or any(mode == LOOP for mode, _key in run.found):
            return ()
        title = (
            f"{run.steps} steps, and {whole.again} of {whole.calls} tool calls were made before with the same answer"
        )
        data = {"kind": "no_progress", "tools": [], "cause": "no_progress", "steps": run.steps, "again": whole.again}
        return (
            Finding(
                LOOP, WARNING, title, run.trace_id, call.span.span_id, tuple(whole.evidence), data, None,
                whole.again, "no_progress",
            ),
        )  # fmt: skip


def _agent(agent: AgentView) -> _Agent:
    state: _Agent | None = agent.state.get(LOOP)
    if state is None:
        state = agent.state[LOOP] = _Agent(Window(agent.turn))
    elif state.window.turn != agent.turn:
        state.window = Window(agent.turn)
    return state


def _run(run: RunView) -> _Run:
    state: _Run | None = run.state.get(LOOP)
    if state is None:
        state = run.state[LOOP] = _Run()
    return state


def _count(whole: _Run, call: Call) -> bool:
    """Count a call of the run; returns whether the like of it was not seen before."""
    whole.calls += 1
    if call.same is None:
        return True
    if call.same in whole.seen:
        whole.again += 1
        whole.evidence.append(call.span.span_id)
        del whole.evidence[:-50]
        return False
    if len(whole.seen) < _MOST_SEEN:
        whole.seen[call.same] = None
    return True


def _told(agent: AgentView, run: RunView, tools: set[str], *kinds: str) -> bool:
    """Whether a loop of another kind tells of one of these tools of an agent already."""
    return any(
        mode == LOOP and found.data.get("kind") in kinds and key[0] == agent.name and tools & set(found.data["tools"])
        for (mode, key), found in run.found.items()
    )


def _made(  # noqa: PLR0913, PLR0917 - one place makes the finding
    key: tuple[str, str],
    level: str,
    title: str,
    evidence: tuple[str, ...],
    data: dict[str, Any],
    count: int,
    run: RunView,
    agent: AgentView,
) -> Finding | None:
    before = run.found.get((LOOP, key))
    span_id = evidence[-1]
    if before is not None:
        if before.count > count:  # the like of it, worse, earlier in the run
            return None
        span_id = before.span_id
        level = WARNING if before.level == WARNING else level
    data |= {"agent": agent.name, "first": evidence[0], "last": evidence[-1]}
    return Finding(LOOP, level, title, run.trace_id, span_id, evidence, data, None, count, key)


def _spent(second: Call | None, last: Call, run: RunView) -> dict[str, Any]:
    """Return what was spent since the second of the calls, and on which model."""
    since = second or last
    spent: dict[str, Any] = {
        "seconds": round((last.span.end_ns - since.span.end_ns) / 1e9, 3),
        "tokens": run.tokens - since.tokens,
        "output_tokens": run.output_tokens - since.output,
    }
    return spent | ({"model": str(run.model), "provider": str(run.provider)} if run.model else {})


def _came_back(call: Call) -> dict[str, Any]:
    """Return what each call gave: the class of its error or the form of its answer; the beginnings of its content."""
    facts = call.facts
    about: dict[str, Any] = {"form": facts.form} if not facts.failed else {"class": facts.error_class}
    if facts.failed and facts.error_type:
        about["error_type"] = facts.error_type
    return about | _shown(call.span)


def _shown(span: SpanView) -> dict[str, Any]:
    """Return the beginning of arguments and answer, where they were recorded as content."""
    given = (("arguments", semconv.TOOL_ARGUMENTS), ("answer", semconv.TOOL_RESULT))
    return {
        key: str(value)[:_SHOWN] for key, name in given if (value := span.attributes.get(name)) not in (None, "", ())
    }


def _repeat_title(streak: Streak) -> str:
    facts, often = streak.last.facts, times(streak.calls)
    tool = short(facts.tool)
    if facts.failed:
        kind = f"{short(facts.error_type)}, {facts.error_class}" if facts.error_type else facts.error_class
        how = "to the same call" if streak.equal else "whatever the arguments"
        return f"{tool} failed {often} with the same error {how}: {kind}"
    if streak.polls:
        return f"{tool} was polled {often} in {streak.seconds:.0f} s, and nothing changed"
    return f"{tool} was called {often} in a row with the same input and gave the same answer"
