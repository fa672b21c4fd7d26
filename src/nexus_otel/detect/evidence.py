"""The spans that show a finding, few however often it was seen, and words for how often."""

from __future__ import annotations

from typing import Final

_FIRST: Final = 10
_MOST: Final = 50
_LONGEST_NAME: Final = 80


def grown(evidence: list[str], span_id: str) -> None:
    """Add a span to what shows a finding: the first ones and the last ones are kept."""
    evidence.append(span_id)
    if len(evidence) > _MOST:
        del evidence[_FIRST]


def times(count: int) -> str:
    """Return how often something was: once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def short(name: str) -> str:
    """Return a name as a title has it: a model may invent one of any length, over several lines."""
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"
