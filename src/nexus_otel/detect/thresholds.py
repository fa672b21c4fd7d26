"""Every threshold of the detectors, with the values that the definitions of the failure modes give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

NOTE_TOOLS: Final = (
    "calculate", "calculator", "note", "plan", "planning", "reflect", "sequentialthinking", "think", "thinktool",
    "todo", "todoread", "todowrite", "updateplan", "updatetodos", "writetodos",
)  # fmt: skip
"""Tools with no effect outside the agent: neither progress nor repetition."""
WAIT_TOOLS: Final = ("delay", "pause", "sleep", "wait", "waitfor", "waitforseconds", "waitseconds")
HUMAN_TOOLS: Final = (
    "askhuman", "askuser", "askuserquestion", "getuserinput", "human", "humanapproval", "humanassistance",
    "humanfeedback", "humaninput", "humanintheloop", "input", "requestapproval", "userinput",
)  # fmt: skip
"""Tools that ask a person, who takes the time it takes."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When what is seen becomes a finding.

    Attributes:
        loop_calls: Equal calls with equal answers in a row, or equal errors of one tool.
        loop_cycles: Full repeats of a cycle of several calls.
        longest_cycle: Calls of the longest cycle that is looked for.
        poll_calls: Equal calls with equal answers in a row, where they are polling.
        poll_s: Seconds of polling with equal answers, reported at level info.
        poll_gap_s: Seconds between calls, model time apart, that make repetition polling.
        transient_calls: Equal transient errors of one tool, with waits between.
        transient_wait_s: The wait after a transient error that makes a retry right.
        reworded_calls: Calls with one empty answer and ever different words.
        reworded_overlap: Share of words that such a call has of the one before.
        step_limit: Model calls after which a run without progress is reported.
        seen_share: Share of its calls, answers included, that such a run had made before.
        seen_calls: Tool calls without which that share means nothing.
        progress_tokens: Output tokens of a model call between two handovers that count as work, its text unknown.
        nearest_distance: Edits between an unknown tool and the known one that is proposed.
        context_levels: Shares of the context window that are told when a prompt reaches them.
        context_half: Share from which it is told that the window will soon be full.
        context_steps_left: Steps to the limit, at the pace of the last ones, from which that is told.
        context_cut: Share that says that what is more was cut.
        context_flat: Share of a prompt within which it has not grown.
        context_drop: Share that a prompt loses where a part was cut.
        context_step: Share of the window that one step adds at most.
        slow_z: Deviations of the logarithm of seconds from the middle, from which a step is slow.
        slow_floor: The least that a deviation is taken for.
        slow_times: How many times its usual time a slow step takes.
        slow_times_expected: The same of a model call, of the time that its output tokens usually take.
        slow_model_s: Seconds more than usual of a slow model call.
        slow_tool_s: The same of a tool or a retrieval.
        slow_share: Share of the run so far that a slow step takes.
        hard_model_s: Seconds of a slow model call where nothing is known of how long they take.
        hard_tool_s: The same of a tool or a retrieval.
        slow_token_s: Seconds for each output token that explain a slow model call where nothing is known.
        gap_s: Seconds between two steps with nothing recorded, reported at level info.
        slow_ok: Tools and models that may take long; names, however they are cased or joined.
        note_tools: Tools that loops are not made of; names, however they are cased or joined.
        wait_tools: Tools that wait.
    """

    loop_calls: int = 3
    loop_cycles: int = 3
    longest_cycle: int = 16
    poll_calls: int = 30
    poll_s: float = 1800.0
    poll_gap_s: float = 10.0
    transient_calls: int = 10
    transient_wait_s: float = 1.0
    reworded_calls: int = 5
    reworded_overlap: float = 0.5
    step_limit: int = 50
    seen_share: float = 0.6
    seen_calls: int = 10
    progress_tokens: int = 60
    nearest_distance: int = 3
    context_levels: tuple[float, ...] = (0.80, 0.90, 0.95)
    context_half: float = 0.5
    context_steps_left: int = 3
    context_cut: float = 0.995
    context_flat: float = 0.005
    context_drop: float = 0.30
    context_step: float = 0.25
    slow_z: float = 3.5
    slow_floor: float = 0.25
    slow_times: float = 4.0
    slow_times_expected: float = 3.0
    slow_model_s: float = 10.0
    slow_tool_s: float = 5.0
    slow_share: float = 0.05
    hard_model_s: float = 60.0
    hard_tool_s: float = 30.0
    slow_token_s: float = 0.1
    gap_s: float = 10.0
    slow_ok: frozenset[str] = frozenset()
    note_tools: frozenset[str] = frozenset(NOTE_TOOLS)
    wait_tools: frozenset[str] = frozenset(WAIT_TOOLS)

    def is_note(self, tool: str) -> bool:
        """Whether a tool only takes notes."""
        return folded(tool) in self.note_tools

    def is_wait(self, tool: str) -> bool:
        """Whether a tool only waits."""
        return folded(tool) in self.wait_tools

    def may_be_slow(self, name: str) -> bool:
        """Whether a tool or a model takes long by nature: it waits, asks a person, or was said to."""
        return folded(name) in self.slow_ok or self.is_wait(name) or folded(name) in HUMAN_TOOLS


_LEAST: Final = {"loop_calls": 2, "loop_cycles": 2, "longest_cycle": 2, "poll_calls": 2, "reworded_calls": 2}
"""What a count must be for repetition to mean anything; other counts are at least 1."""


def changed(values: Mapping[str, Any]) -> tuple[Thresholds, list[str]]:
    """Return the thresholds with other numbers, and a line about each that is none.

    Args:
        values: By name: a number, or several for `context_levels`.
    """
    default, wrong = Thresholds(), list[str]()
    taken: dict[str, Any] = {}
    for name, value in values.items():
        usual = getattr(default, name, None)
        if not isinstance(usual, int | float | tuple):
            wrong.append(f"no threshold {name!r}")
        elif isinstance(usual, tuple):
            levels = value if isinstance(value, tuple | list) else (value,)
            taken[name] = tuple(sorted(float(level) for level in levels))
        elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            wrong.append(f"threshold {name}={value!r}: expected a number")
        elif isinstance(usual, float):
            taken[name] = float(value)
        elif value != int(value) or value < _LEAST.get(name, 1):
            wrong.append(f"threshold {name}={value:g}: expected a whole number of at least {_LEAST.get(name, 1)}")
        else:
            taken[name] = int(value)
    return replace(default, **taken), wrong


_JOINTS = re.compile(r"[\W_]+")


@lru_cache(4_096)
def folded(name: str) -> str:
    """Return a tool's name without case and joints: `bookFlight` and `book_flight` are one."""
    return _JOINTS.sub("", name).casefold()
