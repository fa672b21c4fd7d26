"""Agents that fail in each way, and ones that only look so: what the model says, and what must be found.

One program runs all of them, one after the other, under `nexus-instrument`; what was found while they ran and what
`diagnose` finds afterwards is compared with the table.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.kit import LAUNCHER, PYTHON, Done, World
from tests.fakes.otlp import Event, Span
from tests.fakes.provider import OVERFLOW, Failure, Reply, Step, ToolUse, Usage

AGENTS = Path(__file__).parent / "agents"
LIMIT = 50_000
LOWERED = "hard_tool_s=1.2,slow_tool_s=1,slow_model_s=100,hard_model_s=120"
"""What makes the slow tool slow, which takes 1.6 s; the first call of a library may take long, and is no matter."""
MAY_BE_SLOW = "search,charge,status,send_mail"
"""The other tools: on a busy machine any of them may take a second."""
OFF = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"}
ON = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}


@dataclass(frozen=True)
class Asks:
    """The model asks for a tool."""

    tool: str
    given: Mapping[str, Any]
    tokens: int = 100


@dataclass(frozen=True)
class Says:
    """The model answers."""

    tokens: int = 100


@dataclass(frozen=True)
class Failing:
    """One agent.

    Attributes:
        script: What its model does.
        found: The level of each mode that is found in it.
        at: The span that the first event of each mode is on: its name, and which one of that name it may be.
        absorbed: Modes that are told while the run goes on, and later are part of another finding.
    """

    script: Sequence[Asks | Says | Failure]
    found: Mapping[str, str] = field(default_factory=dict)
    at: Mapping[str, tuple[str, Sequence[int]]] = field(default_factory=dict)
    absorbed: frozenset[str] = frozenset()


REFUND = Asks("search", {"query": "refund"})
WRONG, RIGHT = Asks("charge", {"order": "#1"}), Asks("charge", {"order": "1"})
SAYS = Says()
SEARCHES, CHARGES, CHATS = "execute_tool search", "execute_tool charge", "chat"

FAILING = {
    "good": Failing([REFUND, RIGHT, SAYS]),
    "tool_error": Failing([WRONG, SAYS], {"tool_error": "warning"}, {"tool_error": (CHARGES, [1])}),
    "got_over": Failing([WRONG, RIGHT, SAYS], {"tool_error": "info"}, {"tool_error": (CHARGES, [1])}),
    "retry": Failing(
        [WRONG, WRONG, SAYS],
        {"retry": "warning", "tool_error": "warning"},
        {"retry": (CHARGES, [2]), "tool_error": (CHARGES, [1])},
    ),
    "loop": Failing([REFUND] * 6 + [SAYS], {"loop": "warning"}, {"loop": (SEARCHES, [3, 4])}),
    "loop_of_errors": Failing(
        [Asks("charge", {"order": f"#{number}"}) for number in range(6)] + [SAYS],
        {"loop": "warning", "tool_error": "warning"},
        {"loop": (CHARGES, [3, 4]), "tool_error": (CHARGES, [1])},
    ),
    "loop_of_one_error": Failing(
        [WRONG] * 5 + [SAYS],
        {"loop": "warning", "tool_error": "warning"},
        {"loop": (CHARGES, [3, 4]), "tool_error": (CHARGES, [1])},
        frozenset({"retry"}),
    ),
    "cycle": Failing([REFUND, RIGHT] * 4 + [SAYS], {"loop": "warning"}, {"loop": (CHARGES, [3])}),
    "unknown_tool": Failing(
        [Asks("send_mail", {"to": "ada"}), SAYS],
        {"hallucinated_action": "warning"},
        {"hallucinated_action": ("execute_tool send_mail", [1])},
    ),
    "wrong_arguments": Failing(
        [Asks("search", {"q": "refund", "limit": 3}), SAYS],
        {"hallucinated_action": "warning"},
        {"hallucinated_action": (SEARCHES, [1])},
    ),
    "filling": Failing(
        [Asks("search", {"query": "a"}, 20_000), Says(41_000)],
        {"context_overflow": "warning"},
        {"context_overflow": (CHATS, [2])},
    ),
    "overflow": Failing(
        [Asks("search", {"query": "a"}, 30_000), OVERFLOW, SAYS, SAYS, SAYS],
        {"context_overflow": "error"},
        {"context_overflow": (CHATS, [2])},
    ),
    "slow_tool": Failing(
        [Asks("build", {"job": "x"}), SAYS],
        {"latency_spike": "warning"},
        {"latency_spike": ("execute_tool build", [1])},
    ),
    "polling": Failing([Asks("status", {"job": "7"})] * 7 + [SAYS]),
    "paging": Failing([Asks("charge", {"order": str(number)}) for number in range(7)] + [SAYS]),
}
STOPPED = ("loop", "paging")
STEPS = 5


@dataclass(frozen=True)
class Framework:
    """How agents are made on one.

    Attributes:
        program: In `agents`.
        model: The name that it is asked by.
        asks: What the model says to ask for a tool.
        says: What it says to answer.
        other: Agents of the table that are something else on it, and why is said there.
        missing: Agents that cannot be on it.
    """

    program: str
    model: str = "claude-sonnet-4-5"
    asks: Callable[[str, Mapping[str, Any], Usage], Reply] = lambda tool, given, usage: Reply(
        tools=[ToolUse(tool, given)], usage=usage
    )
    says: Callable[[Usage], Sequence[Reply]] = lambda usage: [Reply("It is done.", usage=usage)]
    other: Mapping[str, Failing] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()

    @property
    def table(self) -> dict[str, Failing]:
        """The agents that are run."""
        return {name: self.other.get(name, case) for name, case in FAILING.items() if name not in self.missing}

    def script(self, case: Failing) -> list[Step]:
        """What the provider answers."""
        return [step for part in case.script for step in self._steps(part)]

    def _steps(self, part: Asks | Says | Failure) -> Sequence[Step]:
        match part:
            case Asks():
                return [self.asks(part.tool, part.given, Usage(part.tokens, 20))]
            case Says():
                return self.says(Usage(part.tokens, 20))
        return [part]


@dataclass(frozen=True)
class Outcome:
    """One run: its spans, and what `diagnose` says of it."""

    spans: Sequence[Span]
    found: Sequence[Mapping[str, Any]]
    home: Path

    @property
    def root(self) -> Span:
        (root,) = [span for span in self.spans if not span.parent_id]
        return root

    @property
    def told(self) -> list[tuple[Span, Event]]:
        """The findings that were told while it went on, in the order of time, with their spans."""
        every = [(span, event) for span in self.spans for event in span.events if event.name == "nexus.finding"]
        return sorted(every, key=lambda one: one[1].time_ns)

    def place(self, span: Span) -> tuple[str, int]:
        """A span's name, without that of its model, and which one of that name it is."""
        name = name_of(span)
        same = sorted((one for one in self.spans if name_of(one) == name), key=lambda one: one.start_ns)
        return name, same.index(span) + 1


def name_of(span: Span) -> str:
    return "chat" if span.name.startswith("chat ") else span.name


def ran(world: World, on: Framework, names: Iterable[str], **env: str) -> tuple[Done, dict[str, Outcome]]:
    """Run agents, each on a key of its own; how the program ended, and what is known of each of them."""
    names = list(names)
    for name in names:
        world.provider.load(on.script(on.table[name]), f"{world.key}.{name}")
    about = {"KEYS": world.key, "NAMES": ",".join(names), "MODEL": on.model, "NEXUS_SUMMARY": "never"}
    detect = {
        "NEXUS_CONTEXT_LIMITS": f"{on.model}={LIMIT}",
        "NEXUS_THRESHOLDS": LOWERED,
        "NEXUS_SLOW_OK": MAY_BE_SLOW,
    }
    program = [LAUNCHER, PYTHON, "-W", "ignore", AGENTS / on.program]
    done = world.run(*program, timeout_s=120, **about, **detect, CREWAI_STORAGE_DIR=str(world.folder), **env)
    exported = world.folder / "traces.jsonl"
    exported.write_text(world.nexus("export").out)
    lines = world.nexus("diagnose", "--json", str(exported), **detect).out.splitlines()
    return done, outcomes(names, world, [json.loads(line) for line in lines])


def outcomes(names: Sequence[str], world: World, found: Sequence[Mapping[str, Any]]) -> dict[str, Outcome]:
    """Tell the runs apart: they began in the order of their names."""
    spans = world.stored()
    roots = sorted((span for span in spans if not span.parent_id), key=lambda span: span.start_ns)
    assert len(roots) == len(names), [span.name for span in roots]
    return {
        name: Outcome(
            [span for span in spans if span.trace_id == root.trace_id],
            [one for one in found if one["trace_id"] == root.trace_id],
            world.home,
        )
        for name, root in zip(names, roots, strict=True)
    }


# -- what must hold ----------------------------------------------------------------------------------------------------


def found_afterwards(case: Failing, outcome: Outcome) -> None:
    """Each mode is found once, at a span of the run, with evidence that is there."""
    assert Counter((one["mode"], one["level"]) for one in outcome.found) == Counter(case.found.items()), [
        one["title"] for one in outcome.found
    ]
    ids = {span.span_id for span in outcome.spans}
    for one in outcome.found:
        assert one["evidence"]
        assert {one["span_id"], *one["evidence"]} <= ids
        assert len(one["title"]) < 250


def found_live(case: Failing, outcome: Outcome) -> None:
    """It was told while it ran: at the right span, once for each level, and on the root."""
    told = outcome.told
    attributes = [event.attributes for _span, event in told]
    modes = [(one["nexus.finding.mode"], one["nexus.finding.level"]) for one in attributes]
    assert len(modes) == len(set(modes)), modes
    assert {mode for mode, _level in modes} - case.absorbed == set(case.found), modes
    assert sorted(outcome.root.attributes.get("nexus.findings", ())) == sorted({mode for mode, _level in modes})
    last = {mode: level for mode, level in modes if mode in case.found}
    # what is got over stays told as it was; what is only certain at the end is told on the root
    assert last == dict(case.found), modes
    for mode, (name, places) in case.at.items():
        span = next(span for span, event in told if event.attributes["nexus.finding.mode"] == mode)
        where, place = outcome.place(span)
        assert (where, place in places) == (name, True), (where, place)
    assert bool(outcome.root.attributes.get("nexus.keep")) == any(level != "info" for level in case.found.values())


def no_values_in_titles(outcome: Outcome) -> None:
    """Titles hold names, counts and classes."""
    titles = [event.attributes["nexus.finding.title"] for _span, event in outcome.told]
    for title in [*titles, *(one["title"] for one in outcome.found)]:
        assert not [value for value in ("refund", "#1", "ada") if value in title], title


def agree(outcome: Outcome, off: Outcome) -> None:
    """The same is found without content, by the hashes and the other facts."""
    about = [sorted((one["mode"], one["level"], one["count"]) for one in each.found) for each in (outcome, off)]
    assert about[0] == about[1]
