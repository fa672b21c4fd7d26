"""How long steps usually take: the last ones of each model and tool, over many runs (`failures.md` 3.5)."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

_KEPT: Final = 64
"""Values of a key."""
_MOST_KEYS: Final = 200
_LONGEST_KEY: Final = 200
_ENOUGH: Final = 8
"""Values below which a key says nothing by itself."""
_LEAST_S: Final = 1e-3
_MOST_S: Final = 1e7
_MOST_TOKENS: Final = 10**7
_TO_DEVIATION: Final = 1.4826
"""From a median absolute deviation to a standard deviation, for values that are normally distributed."""

Value = tuple[float, int]
"""Seconds, and the output tokens of a model call, 0 where there are none."""


@dataclass(slots=True)
class _Series:
    """The last values of a key, as they came, and how many of them have not been written."""

    values: deque[Value] = field(default_factory=lambda: deque(maxlen=_KEPT))
    new: int = 0


@dataclass(frozen=True, slots=True)
class Usual:
    """How long a step usually takes.

    Attributes:
        seconds: The middle; of a model call with known output, what so many tokens usually take.
        deviation: Of the logarithm of seconds.
        by_tokens: Whether the output was taken into account.
        own: Whether it is of the tool or model itself; else of all that do the same.
    """

    seconds: float
    deviation: float
    by_tokens: bool
    own: bool


class Baselines:
    """The last durations of each tool and model, and of each operation; bounded.

    Args:
        stored: What `as_json` gave, of an earlier process; what of it is no such thing is left out.
    """

    def __init__(self, stored: Any = None) -> None:
        self._kept: dict[str, _Series] = {}
        self._pairs: dict[tuple[str, str], tuple[_Series, _Series]] = {}
        self.absorb(stored)

    def add(self, operation: str, name: str, seconds: float, tokens: int | None) -> None:
        """Take how long something took, and how many tokens it put out."""
        own, like = self._pairs.get((operation, name)) or self._pair(operation, name)
        value = (seconds, tokens or 0)
        own.values.append(value)
        like.values.append(value)
        own.new += 1
        like.new += 1

    def usual(self, operation: str, name: str, tokens: int | None) -> Usual | None:
        """Return how long something usually takes; None where too little was seen."""
        own = self._values(_key(operation, name))
        if len(own) >= _ENOUGH:
            return _by_tokens(own, tokens or 0) or _usual([seconds for seconds, _tokens in own], own=True)
        like = self._values(operation)
        return _usual([seconds for seconds, _tokens in like], own=False) if len(like) >= _ENOUGH else None

    # -- between processes ---------------------------------------------------------------------------------------------

    def absorb(self, stored: Any) -> None:
        """Take the values of earlier processes, as older than what there is."""
        for key, values in _read(stored).items():
            series = self._series(key)
            series.values = deque([*values, *series.values], maxlen=_KEPT)

    def append(self, new: Any) -> None:
        """Take the values of another process, as `take_new` gave them."""
        for key, values in _read({"seconds": new}).items():
            self._series(key).values.extend(values)

    def take_new(self) -> dict[str, list[Value]]:
        """Return the values that came since this was last asked."""
        new = {key: self._values(key)[-series.new :] for key, series in self._kept.items() if series.new}
        for series in self._kept.values():
            series.new = 0
        return new

    def as_json(self) -> dict[str, Any]:
        """Return what a later process begins with."""
        return {"schema": 1, "seconds": {key: self._values(key) for key in self._kept}}

    def _values(self, key: str) -> list[Value]:
        series = self._kept.get(key)
        return [_bounded(*value) for value in series.values] if series is not None else []

    def _pair(self, operation: str, name: str) -> tuple[_Series, _Series]:
        """Return what is kept of a tool or model, and of all that do the same."""
        like, own = self._series(operation), self._series(_key(operation, name))
        self._pairs[operation, name] = own, like
        return own, like

    def _series(self, key: str) -> _Series:
        series = self._kept.get(key)
        if series is None:
            if len(self._kept) >= _MOST_KEYS:
                self._pairs.clear()
                for few in sorted(self._kept, key=lambda kept: len(self._kept[kept].values))[: _MOST_KEYS // 4]:
                    del self._kept[few]
            series = self._kept[key] = _Series()
        return series


def _key(operation: str, name: str) -> str:
    return f"{operation} {name}"[:_LONGEST_KEY]


def _bounded(seconds: float, tokens: int) -> Value:
    return round(min(max(seconds, _LEAST_S), _MOST_S), 3), min(max(tokens, 0), _MOST_TOKENS)


def _read(stored: Any) -> dict[str, list[Value]]:
    """Return stored values by key, without what is none."""
    kept = stored.get("seconds") if isinstance(stored, Mapping) else None
    return {
        key: [value for value in map(_value, values[-_KEPT:]) if value is not None]
        for key, values in (list(kept.items())[-_MOST_KEYS:] if isinstance(kept, Mapping) else ())
        if isinstance(key, str) and len(key) <= _LONGEST_KEY and isinstance(values, list)
    }


def _value(stored: Any) -> Value | None:
    """Return a stored value; None where it is none."""
    if not isinstance(stored, Sequence) or len(stored) != 2:  # noqa: PLR2004 - seconds and tokens
        return None
    seconds, tokens = stored
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in stored)
    if not numbers or not (_LEAST_S <= seconds <= _MOST_S and 0 <= tokens <= _MOST_TOKENS):
        return None
    return float(seconds), int(tokens)


def _usual(seconds: Sequence[float], *, own: bool, expected: float | None = None) -> Usual:
    """Return the middle of some durations, or of some ratios to what was expected, and how far they are spread."""
    logs = [math.log(max(one, _LEAST_S)) for one in seconds]
    middle = statistics.median(logs)
    deviation = _TO_DEVIATION * statistics.median(abs(one - middle) for one in logs)
    return Usual(math.exp(middle) * (expected or 1), deviation, expected is not None, own)


def _by_tokens(values: Sequence[Value], tokens: int) -> Usual | None:
    """Return the usual time of a model call by its output: c0 + c1 x tokens; None where the output is not known.

    c1 is the middle of the slopes between all pairs (Theil and Sen), for one slow call must not move it.
    """
    known = [value for value in values if value[1]]
    if not tokens or len(known) < _ENOUGH:
        return None
    pairs = combinations(known, 2)
    slopes = [(one[0] - other[0]) / (one[1] - other[1]) for one, other in pairs if one[1] != other[1]]
    slope = max(0.0, statistics.median(slopes)) if slopes else 0.0
    base = statistics.median(seconds - slope * count for seconds, count in known)

    def expected(count: int) -> float:
        return max(base + slope * count, _LEAST_S)

    return _usual([seconds / expected(count) for seconds, count in known], own=True, expected=expected(tokens))
