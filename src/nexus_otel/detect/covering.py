"""Which parts of a span's time its children cover, as they end one by one."""

from __future__ import annotations

from bisect import bisect
from itertools import pairwise
from statistics import median
from typing import Final

_MOST: Final = 256

Interval = tuple[int, int, str, str]
"""From, until, in nanoseconds; the spans that begin and end it."""


def add(covered: list[Interval], new: Interval) -> None:
    """Add a child's time to disjoint intervals in the order of time; beyond many, the smallest gaps are closed."""
    since, until, _first, ends = new
    if until <= since:
        return
    last = covered[-1] if covered else None
    if last is None or since > last[1]:
        covered.append(new)
    elif since >= last[0]:
        if until > last[1]:
            covered[-1] = (last[0], until, last[2], ends)
    else:
        covered.insert(bisect(covered, new), new)
        _join(covered, 0)
    if len(covered) > _MOST:
        gaps = sorted(after[0] - before[1] for before, after in pairwise(covered))
        _join(covered, gaps[len(gaps) // 2])


def _join(covered: list[Interval], gap_ns: int) -> None:
    """Make those one that overlap, or are at most so far apart."""
    joined: list[Interval] = []
    for one in covered:
        if joined and one[0] <= joined[-1][1] + gap_ns:
            last = joined[-1]
            joined[-1] = (last[0], one[1], last[2], one[3]) if one[1] > last[1] else last
        else:
            joined.append(one)
    covered[:] = joined


def seconds(covered: list[Interval]) -> float:
    """Return how long they are together."""
    return sum(until - since for since, until, _first, _last in covered) / 1e9


def largest_gap(covered: list[Interval]) -> tuple[float, float, str, str]:
    """Return the longest time between two of them, the middle of the others, and the spans before and after it."""
    gaps = [((after[0] - before[1]) / 1e9, before[3], after[2]) for before, after in pairwise(covered)]
    if not gaps:
        return 0.0, 0.0, "", ""
    longest = max(gaps)
    gaps.remove(longest)
    return longest[0], median(gap[0] for gap in gaps) if gaps else 0.0, longest[1], longest[2]
