"""Every threshold of the detectors, with the values that the definitions of the failure modes give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

NOTE_TOOLS: Final = (
    "calculate", "calculator", "note", "plan", "planning", "reflect", "sequentialthinking", "think", "thinktool",
    "todo", "todoread", "todowrite", "updateplan", "updatetodos", "writetodos",
)  # fmt: skip
"""Tools with no effect outside the agent: neither progress nor repetition."""
WAIT_TOOLS: Final = ("delay", "pause", "sleep", "wait", "waitfor", "waitforseconds", "waitseconds")


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
    note_tools: frozenset[str] = frozenset(NOTE_TOOLS)
    wait_tools: frozenset[str] = frozenset(WAIT_TOOLS)

    def is_note(self, tool: str) -> bool:
        """Whether a tool only takes notes."""
        return folded(tool) in self.note_tools

    def is_wait(self, tool: str) -> bool:
        """Whether a tool only waits."""
        return folded(tool) in self.wait_tools


_JOINTS = re.compile(r"[\W_]+")


@lru_cache(4_096)
def folded(name: str) -> str:
    """Return a tool's name without case and joints: `bookFlight` and `book_flight` are one."""
    return _JOINTS.sub("", name).casefold()
