"""The context window: how full it is, how fast it fills, that it overflowed, and what filled it (`failures.md` 3.4)."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.evidence import grown, short
from nexus_otel.detect.facts import ModelFacts, model_facts
from nexus_otel.detect.model import CONTEXT_OVERFLOW, ERROR, INFO, WARNING, AgentView, Finding, RunView, SpanView
from nexus_otel.detect.models import Limits, shares_output
from nexus_otel.detect.thresholds import Thresholds

_MOST_CALLS: Final = 64
_MOST_MODELS: Final = 16
_MOST_TOOLS: Final = 64
_FOR_PACE: Final = 5
_FOR_FLAT: Final = 3
_BYTES_A_TOKEN: Final = 10
"""More than texts have: what is added is at least a token for each of these."""
_LEAST: Final = 1_000
"""Tokens below which no window ends: usage that somebody made up for a test."""
_MOST: Final = 10**9
"""Tokens that no prompt has."""
_OVER: Final = 1.005
_Answer = tuple[str, str, int]
"""Of a tool: its name, its span, and how long it is, 0 where that is not known."""
_FULL: Final = frozenset({"model_context_window_exceeded", "context_window_exceeded", "context_length_exceeded"})
"""Finish reasons of a full window (Anthropic from Sonnet 4.5 on; gateways)."""


@dataclass(slots=True)
class _Call:
    """One model call: its prompt in tokens, with `most` if those of the cache were left out; its messages and bytes."""

    span_id: str
    tokens: int
    most: int
    messages: int | None
    size: int | None


@dataclass(slots=True)
class _Talk:
    """One model's calls of one agent.

    Attributes:
        calls: The last ones that told their tokens, of one conversation: messages only come to it.
        largest: The step that added most, as tokens and the answers of tools.
        learnt: The limit that an error gave.
        wrong: Whether a prompt went through that is over the limit as we know it.
        shortened: Whether messages were taken out before: who does that will do it again, before the window is full.
        flat: Calls in a row whose prompt did not grow though much was added.
        reached: The highest share that was told.
        evidence: The spans that show what was found.
        finding: What was found so far.
    """

    calls: deque[_Call] = field(default_factory=lambda: deque(maxlen=_MOST_CALLS))
    largest: tuple[int, list[_Answer]] | None = None
    learnt: int | None = None
    wrong: bool = False
    shortened: bool = False
    flat: int = 0
    reached: float = 0.0
    evidence: list[str] = field(default_factory=list)
    finding: Finding | None = None


@dataclass(slots=True)
class _Agent:
    """What is kept of one agent: its conversations by model, and what its tools answered since the last call."""

    talks: dict[str, _Talk] = field(default_factory=dict)
    tools: list[_Answer] = field(default_factory=list)


class ContextOverflow:
    """Finds a context window that is nearly full, will be soon, overflowed, or was cut without a word.

    Args:
        thresholds: When it is told.
        limits: What models take.
    """

    mode = CONTEXT_OVERFLOW

    def __init__(self, thresholds: Thresholds, limits: Limits | None = None) -> None:
        self._thresholds = thresholds
        self._limits = limits if limits is not None else Limits()
        self._least = min(*thresholds.context_levels, thresholds.context_half, thresholds.context_step)

    def seen(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a span that has ended."""
        if span.operation == semconv.EXECUTE_TOOL:
            _note_tool(agent, span)
            return ()
        facts = model_facts(span, agent)
        if facts is None:
            return ()
        state: _Agent = agent.state.get(CONTEXT_OVERFLOW) or agent.state.setdefault(CONTEXT_OVERFLOW, _Agent())
        talk = state.talks.get(facts.model)
        if talk is None:
            if len(state.talks) >= _MOST_MODELS:
                return ()
            talk = state.talks[facts.model] = _Talk()
        told = self._model_call(span, facts, talk, state)
        if told is None:
            return ()
        talk.finding = _finding(told, talk, span, run, (agent.span_id, facts.model))
        return (talk.finding,)

    def over(self, run: RunView) -> Iterable[Finding]:  # noqa: ARG002 - all is found as it happens
        """Take the end of a run."""
        return ()

    # -- one model call ------------------------------------------------------------------------------------------------

    def _model_call(self, span: SpanView, facts: ModelFacts, talk: _Talk, state: _Agent) -> _Told | None:
        if facts.overflow or _is_full(span):
            return self._overflowed(span, facts, talk, state)
        if facts.input_tokens is None or not 0 <= facts.input_tokens < _MOST:
            return None
        call = _call(span, facts, facts.input_tokens)
        before = talk.calls[-1] if talk.calls else None
        if before is not None and _is_shorter(before, call):
            talk.shortened |= call.tokens < before.tokens
            talk.calls.clear()
            talk.flat = 0
            before = None
        talk.calls.append(call)
        limit = self._limit(span, facts, talk)
        if limit is not None and call.tokens > _OVER * limit and not self._limits.said(facts.model):
            talk.wrong, limit = True, None
        cut = self._cut(before, call, talk, after_tools=bool(state.tools)) if before is not None else None
        jump = _note_growth(before, call, talk, state) if before is not None else 0
        if state.tools:
            state.tools = []
        if cut is not None or limit is None or call.tokens < self._least * limit:
            return cut
        return self._filling(call, talk, limit, jump)

    def _limit(self, span: SpanView, facts: ModelFacts, talk: _Talk) -> int | None:
        """Return what the prompt may have: learnt from an error, else as the model is known, to us or the framework."""
        if talk.wrong:
            return talk.learnt
        limit = talk.learnt or self._limits.of(facts.model)
        if limit is None:
            limit = self._limits.of(str(span.attributes.get(semconv.RESPONSE_MODEL) or ""))
        if limit is None:
            limit = _window(span)
        output = facts.max_tokens
        if not output or limit is None or not 0 < output < limit / 2 or not shares_output(facts.model):
            return limit
        return limit - output

    def _overflowed(self, span: SpanView, facts: ModelFacts, talk: _Talk, state: _Agent) -> _Told:
        limit, tokens = facts.overflow_limit, facts.overflow_tokens or facts.input_tokens
        if limit is not None and 0 < limit < _MOST:
            talk.learnt = limit
            self._limits.learn(facts.model, limit)
        else:
            limit = self._limit(span, facts, talk)
        if tokens is not None and talk.calls:
            _note_growth(talk.calls[-1], _call(span, facts, tokens), talk, state)
        used = f": {tokens:,} tokens" if tokens is not None else ""
        known = f"the limit is {limit:,}" if limit is not None else "the model's limit is not known"
        return _Told("overflow", ERROR, f"the context overflowed{used}; {known}", limit, tokens, self._step(limit))

    def _filling(self, call: _Call, talk: _Talk, limit: int, jump: int) -> _Told | None:
        """Return how full the window is, where that is a new level; else how soon it is full; else a great step."""
        limits = self._thresholds
        share, step, known = call.tokens / limit, self._step(limit), talk.finding
        filled = f"{call.tokens:,} of {limit:,} tokens"
        if share >= limits.context_cut and talk.reached < limits.context_cut:
            talk.reached = limits.context_cut
            title = f"the prompt fills the whole context: {filled}; what is more is cut or refused"
            return _Told("full", WARNING, title, limit, call.tokens, step)
        level = max((level for level in limits.context_levels if share >= level), default=0.0)
        if level > talk.reached:
            talk.reached = level
            return _Told("level", WARNING, f"the context is {share:.0%} full: {filled}", limit, call.tokens, step)
        if level or (known is not None and known.level != INFO):
            return None
        left = _steps_left(talk, limit) if share >= limits.context_half and not talk.shortened else None
        if left is not None and left <= limits.context_steps_left:
            title = f"at this pace the context is full in {left} {'step' if left == 1 else 'steps'}: {filled} now"
            return _Told("projection", WARNING, title, limit, call.tokens, step)
        if jump >= step and known is None:
            return _Told("step", INFO, f"the context is {share:.0%} full: {filled}", limit, call.tokens, step)
        return None

    def _step(self, limit: int | None) -> float:
        return self._thresholds.context_step * limit if limit is not None else float("inf")

    # -- silent cuts ---------------------------------------------------------------------------------------------------

    def _cut(self, before: _Call, call: _Call, talk: _Talk, *, after_tools: bool) -> _Told | None:
        """Return what says that a part of the history was left out: more was sent, and less was read.

        Only where the length of what was sent is known. A prompt that falls at a new turn of the user is none: the
        reasoning of earlier turns is taken out of it by providers.
        """
        if before.size is None or call.size is None or before.tokens < _LEAST or call.tokens < _LEAST:
            talk.flat = 0
            return None
        added, limits = call.size - before.size, self._thresholds
        band = limits.context_flat * before.tokens
        flat = added / _BYTES_A_TOKEN > band and _is_longer(before, call) and abs(call.tokens - before.tokens) <= band
        talk.flat = talk.flat + 1 if flat else 0
        title = ""
        if talk.flat == _FOR_FLAT:
            title = f"{_FOR_FLAT} calls in a row were counted {call.tokens:,} tokens though messages were added"
        elif after_tools and added >= 0 and call.most < (1 - limits.context_drop) * before.tokens:
            title = f"the prompt fell from {before.tokens:,} to {call.tokens:,} tokens though no message was taken out"
        return _Told("cut", WARNING, title, None, call.tokens, self._step(None)) if title else None


@dataclass(slots=True)
class _Told:
    """What one call shows: why, how bad, in words, with the limit, the prompt, and from where a step is a great one."""

    why: str
    level: str
    title: str
    limit: int | None
    tokens: int | None
    step: float


def _finding(told: _Told, talk: _Talk, span: SpanView, run: RunView, key: tuple[str, str]) -> Finding:
    """Return what was found, with what was found before: an overflow stays one."""
    earlier = talk.finding
    data: dict[str, Any] = {"why": told.why, "tokens": told.tokens, "limit": told.limit, "model": key[1]}
    data |= {"cause": f"context:{key[1]}", "trend": [call.tokens for call in talk.calls]}
    title, advice = told.title, None
    if talk.largest is not None and talk.largest[0] >= told.step:
        added, answers = talk.largest
        tools, tool_id = _who(answers)
        data["largest"] = {"tokens": added, "tools": tools, "span_id": tool_id}
        names = ", ".join(map(short, tools[:3])) + (f" and {len(tools) - 3} more" if len(tools) > 3 else "")  # noqa: PLR2004 - those above
        title += f"; {names} added {added:,} at once"
        advice = f"shorten what {short(tools[0])} gives back" if len(tools) == 1 else None
        if tool_id not in talk.evidence:
            grown(talk.evidence, tool_id)
    grown(talk.evidence, span.span_id)
    level, count = told.level, 1
    if earlier is not None:
        count = earlier.count + 1
        if earlier.level == ERROR and told.level != ERROR:
            level, title, data = ERROR, earlier.title, earlier.data
    evidence = tuple(talk.evidence)
    return Finding(
        CONTEXT_OVERFLOW, level, title, run.trace_id, span.span_id, evidence, data, advice, count, key, talk.reached
    )  # fmt: skip


def _window(span: SpanView) -> int | None:
    """Return what the framework says that the model takes."""
    window = span.number(semconv.CONTEXT_WINDOW)
    return window if window is not None and _LEAST <= window < _MOST else None


def _call(span: SpanView, facts: ModelFacts, tokens: int) -> _Call:
    most = tokens
    if semconv.USAGE_CACHE_READ in span.attributes or semconv.USAGE_CACHE_WRITE in span.attributes:
        cached = (span.number(semconv.USAGE_CACHE_READ) or 0) + (span.number(semconv.USAGE_CACHE_WRITE) or 0)
        most += cached
        tokens = most if cached > tokens else tokens
    return _Call(span.span_id, tokens, most, facts.messages, facts.size)


def _is_full(span: SpanView) -> bool:
    """Whether a model stopped because its window was full."""
    reasons = span.attributes.get(semconv.RESPONSE_FINISH_REASONS)
    return isinstance(reasons, tuple | list) and bool(reasons) and str(reasons[-1]) in _FULL


def _note_tool(agent: AgentView, span: SpanView) -> None:
    state: _Agent | None = agent.state.get(CONTEXT_OVERFLOW)
    if state is not None and len(state.tools) < _MOST_TOOLS:
        answer = span.attributes.get(semconv.TOOL_RESULT)
        state.tools.append((span.tool, span.span_id, len(answer) if isinstance(answer, str) else 0))


def _note_growth(before: _Call, call: _Call, talk: _Talk, state: _Agent) -> int:
    """Keep the step that added most; returns what this one added."""
    if not state.tools:
        return 0
    added = call.tokens - before.tokens
    if talk.largest is None or added > talk.largest[0]:
        talk.largest = added, state.tools
    return added


def _who(answers: list[_Answer]) -> tuple[list[str], str]:
    """Return the tools that added to a prompt, with the span of one: of several the one with the longest answer."""
    tool, span_id, size = max(answers, key=lambda answer: answer[2])
    return [tool] if size else list(dict.fromkeys(name for name, _id, _size in answers)), span_id


def _steps_left(talk: _Talk, limit: int) -> int | None:
    """Return the steps to the limit at the pace of the last ones: their middle, so that a jump counts once."""
    steps = list(pairwise(list(talk.calls)[-_FOR_PACE - 1 :]))
    grown_by = [after.tokens - before.tokens for before, after in steps]
    if len(steps) < _FOR_FLAT or min(grown_by) < 0 or not all(_is_longer(*step) is not False for step in steps):
        return None
    pace = statistics.median(grown_by)
    return max(1, int((limit - talk.calls[-1].tokens) / pace)) if pace > 0 else None


def _is_shorter(before: _Call, call: _Call) -> bool:
    """Whether messages were taken out: compaction, or another conversation."""
    return before.messages is not None and call.messages is not None and call.messages < before.messages


def _is_longer(before: _Call, call: _Call) -> bool | None:
    """Whether messages were added between two calls; None where that is not known."""
    if before.messages is None or call.messages is None:
        return None
    return call.messages > before.messages
