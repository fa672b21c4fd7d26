"""Actions that a model made up: tools that are not there, arguments that a tool does not take (`failures.md` 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.evidence import grown, short, times
from nexus_otel.detect.facts import (
    AskedCall,
    ToolFacts,
    asked_calls,
    checked,
    is_whole,
    model_facts,
    tool_facts,
    was_cut,
)
from nexus_otel.detect.invented import CUT_STATE, INVALID, UNKNOWN_TOOL, Invented, certain, invented, nearest
from nexus_otel.detect.model import HALLUCINATED_ACTION, INFO, RUNS, AgentView, Finding, RunView, SpanView
from nexus_otel.detect.thresholds import Thresholds

_MOST_FINDINGS: Final = 64
_MOST_ASKED: Final = 64
_MOST_SHOWN: Final = 5
_ANSWER: Final = f"{HALLUCINATED_ACTION}.answer"
_ASKS: Final = '"tool_call"'
_WORDS: Final = {
    UNKNOWN_TOOL: "is not a tool of this agent",
    INVALID: "got arguments that it does not take",
    "malformed_arguments": "got arguments that are not JSON",
    "cut_arguments": "got arguments cut by the output limit",
}


@dataclass(slots=True)
class _Answer:
    """A model's answer that asks for tools, and those that were executed since: their ids and names."""

    span_id: str
    recorded: Any
    asks: int
    executed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """What was made up of one tool in one way so far."""

    finding: Finding
    evidence: list[str] = field(default_factory=list)
    rules: dict[str, None] = field(default_factory=dict)


class HallucinatedAction:
    """Finds calls of unknown tools, and arguments against the schema, not JSON, cut off or refused."""

    mode = HALLUCINATED_ACTION

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds

    def seen(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a span that has ended."""
        facts = tool_facts(span, agent)
        if facts is not None:
            return self._executed(facts, span, agent, run)
        if model_facts(span, agent) is not None:
            return self._asked(span, agent, run)
        if span.operation in RUNS and span.failed and span.span_id == agent.span_id:
            return list(self._never_executed(agent, run))
        return ()

    def over(self, run: RunView) -> Iterable[Finding]:  # noqa: ARG002 - what the last answer asked may be for a person
        """Take the end of a run."""
        return ()

    def _executed(self, facts: ToolFacts, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        answer: _Answer | None = agent.state.get(_ANSWER)
        if answer is not None and len(answer.executed) < _MOST_ASKED:
            answer.executed.append((facts.id, facts.tool))
        why = invented(facts, span, agent)
        if why is None:
            return ()
        data: dict[str, Any] = {"cause": facts.cause, "executed": True}
        if facts.failed:
            data |= {"error": facts.error_class, "how": facts.how}
        return self._found(facts.tool, why, span.span_id, data, agent, run)

    def _asked(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a model call: what the one before it asked for and nothing executed was refused by the framework."""
        found = list(self._never_executed(agent, run))
        agent.state[CUT_STATE] = was_cut(span)
        recorded = span.attributes.get(semconv.OUTPUT_MESSAGES)
        asks = _MOST_ASKED if not isinstance(recorded, str) else recorded.count(_ASKS)
        if recorded is not None and asks and is_whole(span.attributes, semconv.OUTPUT_MESSAGES):
            agent.state[_ANSWER] = _Answer(span.span_id, recorded, asks)
        return found

    def _never_executed(self, agent: AgentView, run: RunView) -> Iterator[Finding]:
        """Look at the last answer's calls: only where one of them may not have been executed is it parsed."""
        answer: _Answer | None = agent.state.pop(_ANSWER, None)
        if answer is None or len(answer.executed) >= answer.asks:
            return
        for asked in _left(asked_calls(answer.recorded)[:_MOST_ASKED], answer.executed):
            why = _against_offer(asked, agent)
            if why is not None:
                data = {"cause": f"{asked.tool}:{why.kind}", "executed": False}
                yield from self._found(asked.tool, why, answer.span_id, data, agent, run)

    def _found(  # noqa: PLR0913, PLR0917 - one place makes the finding
        self, tool: str, why: Invented, span_id: str, data: dict[str, Any], agent: AgentView, run: RunView
    ) -> Iterable[Finding]:
        seen: dict[tuple[str, str], _Seen] = run.state.setdefault(HALLUCINATED_ACTION, {})
        key = tool, why.kind
        one = seen.get(key)
        if one is None:
            if len(seen) >= _MOST_FINDINGS:
                return ()
            one = seen[key] = _Seen(self._first(key, why, span_id, data, agent, run))
            grown(one.evidence, span_id)
        else:
            grown(one.evidence, span_id)
            level = one.finding.level if why.level == INFO else why.level
            one.finding = replace(one.finding, count=one.finding.count + 1, level=level)
        one.rules |= dict.fromkeys(why.rules[:_MOST_SHOWN])
        one.finding = replace(
            one.finding,
            title=_title(tool, why.kind, one.finding.count, list(one.rules)),
            evidence=tuple(one.evidence),
            data=one.finding.data | data | {"rules": list(one.rules)[:_MOST_SHOWN]},
        )
        return (one.finding,)

    def _first(  # noqa: PLR0913, PLR0917 - one place makes the finding
        self, key: tuple[str, str], why: Invented, span_id: str, data: dict[str, Any], agent: AgentView, run: RunView
    ) -> Finding:
        tool, kind = key
        data = {"tool": tool, "kind": kind, "by": why.by} | data
        advice = None
        if kind == UNKNOWN_TOOL and (meant := nearest(tool, agent.offered.schemas, self._limits.nearest_distance)):
            data["nearest"] = meant
            advice = f"the nearest tool is {short(meant)}"
        elif kind == INVALID and _takes_nothing(agent.offered.schemas.get(tool)):
            advice = "it takes no arguments: send {}"
        return Finding(HALLUCINATED_ACTION, why.level, "", run.trace_id, span_id, (), data, advice, 1, key)


def _left(asked: list[AskedCall], executed: list[tuple[str, str]]) -> list[AskedCall]:
    """Return the calls that no tool span is of: by its id, else by the tool's name."""
    ids = {call_id for call_id, _tool in executed if call_id}
    left = [call for call in asked if call.id not in ids]
    for call_id, tool in executed:
        if not any(call.id == call_id != "" for call in asked):
            same = next((call for call in left if call.tool == tool), None)
            if same is not None:
                left.remove(same)
    return left


def _against_offer(asked: AskedCall, agent: AgentView) -> Invented | None:
    known, rules = checked(agent, asked.tool, asked.arguments)
    if known is False:
        return Invented(UNKNOWN_TOOL, by="offered")
    left = certain(rules or (), asked.arguments)
    if not left:
        return None
    if "type:" in left:
        return Invented("cut_arguments" if agent.state.get(CUT_STATE) else "malformed_arguments", rules=left)
    return Invented(INVALID, rules=left)


def _takes_nothing(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "object" and not schema.get("properties")


def _title(tool: str, kind: str, count: int, rules: list[str]) -> str:
    shown = ", ".join(short(rule) for rule in rules[:_MOST_SHOWN])
    return f"{short(tool)} {_WORDS[kind]}" + (f" ({shown})" if shown else "") + f", {times(count)}"
