"""Which process a file belongs to, and whether that process still lives."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nexus_otel._guard import quietly


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, distinct from any other with the same number.

    Attributes:
        pid: Its number.
        start_time: When it started, in clock ticks since boot; without /proc nanoseconds since 1970.
        boot_id: Of the running system, "" where there is none.
        pid_space: In which namespace `pid` is a number, "" where there are none.
    """

    pid: int
    start_time: int
    boot_id: str
    pid_space: str


def this_process() -> Owner:
    """Return the calling process."""
    return _this_process(os.getpid())


@lru_cache(maxsize=1)
def _this_process(pid: int) -> Owner:
    found = _state_and_start(pid)
    start = found[1] if found is not None else time.time_ns()
    return Owner(pid, start, _boot_id(), quietly(os.readlink, "/proc/self/ns/pid") or "")


def has_ended(owner: Owner) -> bool | None:
    """Whether the process is gone; None when that cannot be seen from here."""
    ours = this_process()
    if owner == ours:
        return False
    if owner.boot_id and ours.boot_id and owner.boot_id != ours.boot_id:
        return True
    if owner.pid_space != ours.pid_space or os.name != "posix":
        return None
    found = _state_and_start(owner.pid)
    if found is not None:
        state, start = found
        return start != owner.start_time or state in {"Z", "X"}
    return True if _is_missing(owner.pid) else None


def _is_missing(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _state_and_start(pid: int) -> tuple[str, int] | None:
    """Return fields 3 and 22 of /proc/PID/stat; the name before them may hold blanks and brackets."""
    text = quietly(Path(f"/proc/{pid}/stat").read_text)
    if not text:
        return None
    rest = text.rpartition(")")[2].split()
    return rest[0], int(rest[19])


def _boot_id() -> str:
    return (quietly(Path("/proc/sys/kernel/random/boot_id").read_text) or "").strip()


def after_fork(method: Callable[[], Any]) -> None:
    """Call a bound method in every child that this process forks, for as long as its object lives."""
    if not hasattr(os, "register_at_fork"):
        return
    kept = weakref.WeakMethod(method)

    def call() -> None:
        alive = kept()
        if alive is not None:
            alive()

    os.register_at_fork(after_in_child=call)
