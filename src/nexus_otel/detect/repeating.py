"""What of a run's tool calls repeats: equal calls in a row, equal errors of a tool, cycles of several calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.evidence import grown, short
from nexus_otel.detect.facts import ToolFacts, parsed
from nexus_otel.detect.model import SpanView
from nexus_otel.detect.thresholds import Thresholds

_TAIL: Final = 64
_MOST_TOOLS: Final = 64
_MOST_SEEN: Final = 1_024
_MOST_NAMED: Final = 8


@dataclass(slots=True)
class Call:
    """One tool call in the window.

    Attributes:
        same: What equal calls with equal answers share; None where one of the two is not known.
        round: Counts the model's answers: calls of one answer were not made in the light of each other.
        idle_ns: Time since the call before that no model call explains.
        tokens: Of the run, when it ended, with the `output` among them.
        waits: Whether it only waits, or was told that something is not ready.
    """

    facts: ToolFacts
    span: SpanView
    same: str | None
    round: int
    idle_ns: int
    tokens: int
    waits: bool = False
    output: int = 0


@dataclass(slots=True)
class Streak:
    """Calls that repeat one another.

    Attributes:
        calls: How many they are.
        rounds: In how many answers of the model they were asked for.
        long_idles: Times between them that are those of a poller; `waits` those that let an error pass.
        evidence: Their spans, the first and the last ones.
        second: The second one: what came after it was in vain.
        differs: The arguments that are not always the same, where they were recorded.
        last: The latest.
    """

    last: Call
    calls: int = 0
    rounds: int = 0
    long_idles: int = 0
    waits: int = 0
    begun_ns: int = 0
    second: Call | None = None
    equal: bool = True
    differs: dict[str, None] = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)

    def add(self, call: Call, limits: Thresholds) -> None:
        """Take a further call, or the first."""
        self.calls += 1
        if self.calls == 1:
            self.rounds, self.begun_ns = 1, call.span.start_ns
        elif call.round > self.last.round:
            self.rounds += 1
            gap_ns = call.span.start_ns - self.last.span.end_ns
            self.long_idles += call.idle_ns >= limits.poll_gap_s * 1e9
            self.waits += gap_ns >= limits.transient_wait_s * 1e9
        if self.calls <= 2:  # noqa: PLR2004 - from the second one on it was in vain
            self.second = call
        if call.facts.call != self.last.facts.call:
            self.equal = False
            self._note_difference(call)
        self.last = call
        grown(self.evidence, call.span.span_id)

    def _note_difference(self, call: Call) -> None:
        before, after = (parsed(one.span.attributes.get(semconv.TOOL_ARGUMENTS)) for one in (self.last, call))
        if isinstance(before, Mapping) and isinstance(after, Mapping) and len(self.differs) < _MOST_NAMED:
            names = [short(str(name)) for name in {**before, **after} if before.get(name) != after.get(name)]
            self.differs |= dict.fromkeys(names[:_MOST_NAMED])

    @property
    def polls(self) -> bool:
        """Whether it reads as polling: not ready yet, or with long waits; never after a final answer."""
        form = self.last.facts.form
        return form == "pending" or (form != "terminal" and 0 < self.rounds - 1 <= 2 * self.long_idles)

    @property
    def seconds(self) -> float:
        """From the begin of the first to the end of the latest."""
        return (self.last.span.end_ns - self.begun_ns) / 1e9


@dataclass(slots=True)
class Window:
    """The tool calls of one agent in one turn.

    Attributes:
        turn: The agent's.
        tail: What the latest calls share with equal ones.
        there: How often each is in the tail.
        calls: The latest calls.
        streak: Equal calls and answers in a row.
        errors: Equal errors by tool, since anything new succeeded in between.
        cycles: For each period, how many calls in a row equal the one that many calls before; empty for none.
        seen: What was seen of successful calls.
        reworded: What the detector of reworded questions keeps.
    """

    turn: int
    tail: list[str | None] = field(default_factory=list)
    there: dict[str | None, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    streak: Streak | None = None
    errors: dict[str, Streak] = field(default_factory=dict)
    cycles: list[int] = field(default_factory=list)
    seen: dict[str, None] = field(default_factory=dict)
    reworded: dict[str, Any] = field(default_factory=dict)

    def add(self, call: Call, limits: Thresholds) -> None:
        """Take a call."""
        streak = self.streak
        if streak is None or call.same is None or streak.last.same != call.same:
            streak = self.streak = Streak(call)
        streak.add(call, limits)
        self._count_cycles(call.same, limits)
        self._count_errors(call, limits)
        self.tail.append(call.same)
        self.calls.append(call)
        self.there[call.same] = self.there.get(call.same, 0) + 1
        if len(self.tail) > _TAIL:
            self._drop_first()

    def _drop_first(self) -> None:
        same = self.tail.pop(0)
        del self.calls[0]
        self.there[same] -= 1
        if not self.there[same]:
            del self.there[same]

    def cycle(self, limits: Thresholds) -> int | None:
        """Return the shortest period of which the latest calls are full repeats, each asked for after the last."""
        for period in range(2, len(self.cycles)):
            if self.cycles[period] < (limits.loop_cycles - 1) * period:
                continue
            back = [self.calls[-1 - period * turn].round for turn in range(limits.loop_cycles)]
            if len(set(self.tail[-period:])) > 1 and all(new > old for new, old in pairwise(back)):
                return period
        return None

    def goes_round(self) -> bool:
        """Whether the latest calls repeat a cycle of several once already: more of it is told as that cycle."""
        return any(
            equal >= period > 1 and len(set(self.tail[-period:])) > 1 for period, equal in enumerate(self.cycles)
        )

    def _count_cycles(self, same: str | None, limits: Thresholds) -> None:
        tail, longest = self.tail, limits.longest_cycle
        if same is None or same not in self.there:
            self.cycles = []
            return
        cycles = self.cycles = self.cycles or [0] * (longest + 1)
        for period in range(2, min(longest, len(tail)) + 1):
            cycles[period] = cycles[period] + 1 if tail[-period] == same else 0

    def _count_errors(self, call: Call, limits: Thresholds) -> None:
        facts = call.facts
        if not facts.failed:
            self.errors.pop(facts.tool, None)
            if call.same is not None and call.same not in self.seen:
                self.errors.clear()  # something new was done: the next failure is another one
                self.seen[call.same] = None
                if len(self.seen) > _MOST_SEEN:
                    del self.seen[next(iter(self.seen))]
            return
        streak = self.errors.get(facts.tool)
        if streak is None or streak.last.facts.error != facts.error:
            if streak is None and len(self.errors) >= _MOST_TOOLS:
                return
            streak = self.errors[facts.tool] = Streak(call)
        streak.add(call, limits)
