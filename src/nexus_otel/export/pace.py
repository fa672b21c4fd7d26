"""Whether the disk keeps up: which writes were slow, and from when on it is trusted again."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from nexus_otel._guard import note_once

SLOW_S: Final = 0.05
"""A write that waits longer for the disk makes the process write on a thread."""
TRUST_S: Final = 60.0
"""How long no write may have been slow before the process writes at once again; four times as long each time, ..."""
_MOST_TRUST_S: Final = 3_600.0
"""... but no longer than this."""
_TRUST_WRITES: Final = 10
"""How many writes in a row must have been fast by then."""
_WAKES: Final = 4
"""How many switch intervals a sleep lasts at least that counts as one for the disk."""

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]
_THREAD: Final[int | None] = getattr(resource, "RUSAGE_THREAD", None)  # macOS does not count by thread

Moment = tuple[float, Any]
"""The monotonic clock, and what the system has counted for this thread, None where it does not."""


def now() -> Moment:
    """Return the moment at which a write begins; half a microsecond."""
    return time.monotonic(), resource.getrusage(_THREAD) if _THREAD is not None else None


class Pace:
    """How the disk keeps up, write by write.

    Attributes:
        slow: How many writes were slow.
        is_behind: Whether records are to be written on a thread.
    """

    def __init__(self) -> None:
        self.slow = 0
        self.is_behind = False
        self._fast = 0
        self._trust_s = 0.0
        self._trust_at = 0.0

    def wrote(self, begun: Moment) -> None:
        """Take notice of a write of this thread that began at `begun` and has ended."""
        ended = time.monotonic()
        if ended - begun[0] > SLOW_S and _waited(ended - begun[0], begun[1]) > SLOW_S:
            self._was_slow(ended)
            return
        self._fast += 1
        if self.is_behind and self._fast >= _TRUST_WRITES and ended >= self._trust_at:
            self.is_behind = False

    def _was_slow(self, at: float) -> None:
        self.slow += 1
        self._fast = 0
        if not self.is_behind:
            self.is_behind = True
            self._trust_s = min(self._trust_s * 4, _MOST_TRUST_S) or TRUST_S
            note_once(
                "writing to a slow disk",
                "nexus-otel: a write took over %d ms; records are written on a thread until the disk keeps up",
                SLOW_S * 1_000,
            )
        self._trust_at = at + self._trust_s


def _waited(wall_s: float, before: Any) -> float:
    """Return how much of a write's time went to the disk, in seconds.

    A thread that waits for a processor does not sleep, and one that waits for the interpreter's lock wakes up at each
    switch interval (CPython's `take_gil`, 3.11 to 3.14); one that waits for the disk sleeps through.
    """
    if before is None or _THREAD is None:
        return wall_s
    after = resource.getrusage(_THREAD)
    sleeps = after.ru_nvcsw - before.ru_nvcsw
    waited = wall_s - (after.ru_utime - before.ru_utime) - (after.ru_stime - before.ru_stime)
    return waited if sleeps and waited / sleeps > _WAKES * sys.getswitchinterval() else 0.0
