"""Agents that hand over to one another in a circle, and nothing is done in between (`failures.md` 3.2, L6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.evidence import short, times
from nexus_otel.detect.facts import parsed
from nexus_otel.detect.model import LOOP, WARNING, Finding, RunView, SpanView
from nexus_otel.detect.thresholds import Thresholds
from nexus_otel.normal import normalise

_TAIL: Final = 64
_MOST_SAID: Final = 2_000
_HANDS_OVER: Final = re.compile(r"(?:transfer|hand_?off|hand_?over)_?(?:back_?)?to_?\w|handoff$", re.IGNORECASE)


@dataclass(slots=True)
class Handovers:
    """The latest handovers of a run, since any work was done between two of them; and what was said since the last."""

    names: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    said: str = ""

    def progress(self) -> None:
        """Take that something was done: what was before leads nowhere no more."""
        if self.keys:
            self.names.clear()
            self.keys.clear()
            self.spans.clear()
            self.cycles.clear()
            self.said = ""

    def model(self, span: SpanView, output_tokens: int | None, limits: Thresholds) -> None:
        """Take a model call between two handovers: what it says is part of the next one; long, it is work."""
        if not self.keys:
            return
        messages = parsed(span.attributes.get(semconv.OUTPUT_MESSAGES))
        if isinstance(messages, list):
            self.said += "".join(_texts(messages))[:_MOST_SAID]
        elif (output_tokens or 0) > limits.progress_tokens:
            self.progress()

    def tool(self, tool: str, span: SpanView, run: RunView, limits: Thresholds) -> Iterable[Finding]:
        """Take the call of a tool that hands over."""
        return self._add(tool, tool, span, run, limits)

    def agent(self, span: SpanView, run: RunView, limits: Thresholds) -> Iterable[Finding]:
        """Take an agent that has finished: equal to another turn of it where its answer is."""
        said = span.attributes.get(semconv.OUTPUT_MESSAGES)
        name = str(span.attributes.get(semconv.AGENT_NAME) or "")
        if said is None or not name:
            return ()
        return self._add(name, f"{name}:{hash(str(said))}", span, run, limits)

    def _add(self, name: str, key: str, span: SpanView, run: RunView, limits: Thresholds) -> Iterable[Finding]:
        keys = self.keys
        key, self.said = f"{key}:{normalise(self.said)}", ""
        cycles = self.cycles = self.cycles or [0] * (limits.longest_cycle + 1)
        for period in range(2, limits.longest_cycle + 1):
            cycles[period] = cycles[period] + 1 if period <= len(keys) and keys[-period] == key else 0
        for items, item in ((self.names, name), (keys, key), (self.spans, span.span_id)):
            items.append(item)
            del items[:-_TAIL]
        for period in range(2, limits.longest_cycle + 1):
            repeats = cycles[period] // period + 1
            if repeats >= limits.loop_cycles and len(set(keys[-period:])) > 1:
                return (self._finding(period, repeats, run),)
        return ()

    def _finding(self, period: int, repeats: int, run: RunView) -> Finding:
        names = list(dict.fromkeys(self.names[-period:]))
        cause = "handover:" + ",".join(sorted(names))
        key = "", cause
        evidence = tuple(self.spans[-repeats * period :])
        before = run.found.get((LOOP, key))
        data: dict[str, Any] = {"kind": "handover", "tools": names, "period": period, "cause": cause}
        title = f"agents hand over in a circle, {times(repeats)} over: {', '.join(map(short, names[:5]))}"
        span_id = before.span_id if before is not None else evidence[-1]
        return Finding(LOOP, WARNING, title, run.trace_id, span_id, evidence, data, None, len(evidence), key)


def hands_over(tool: str) -> bool:
    """Whether a tool gives the run to another agent, by its name: `transfer_to_sales`, `handoff_to_sales`."""
    return _HANDS_OVER.match(tool) is not None


def _texts(messages: Sequence[Any]) -> Iterator[str]:
    for message in messages:
        parts = message.get("parts") if isinstance(message, Mapping) else None
        for part in parts if isinstance(parts, Sequence) and not isinstance(parts, str) else ():
            if isinstance(part, Mapping) and part.get("type") == "text":
                yield str(part.get("content"))
