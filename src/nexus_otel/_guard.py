"""The one place where our own failures stop: they are logged once, counted, and never reach the caller."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any

logger = logging.getLogger("nexus_otel")
logger.addHandler(logging.NullHandler())

failures: Counter[str] = Counter()
"""How often each guarded place failed in this process."""

raise_failures = False
"""Set by our own tests: a failure of ours is raised instead of swallowed."""


def new_lock() -> threading.RLock:
    """Return a lock for our own tables.

    It can be taken again by its holder, for a finalizer may end a span of ours in the middle of anything, and it is
    free in a forked child, whoever held it in the parent.
    """
    lock = threading.RLock()
    reinit = getattr(lock, "_at_fork_reinit", None)  # as the standard library does for its own
    if reinit is not None and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reinit)
    return lock


_lock = new_lock()


def report(place: str, error: BaseException) -> None:
    """Count a failure of ours and log its first occurrence per place.

    Args:
        place: What was being done, to which target.
        error: What went wrong. Its message is not logged: it may quote content.
    """
    with _lock:
        failures[place] += 1
        first = failures[place] == 1
    if first:
        where = _innermost(error)
        logger.warning("nexus-otel failed while %s: %s at %s (said once)", place, type(error).__name__, where)
    if raise_failures:
        raise error


def note_once(place: str, message: str, *args: object) -> None:
    """Log one warning per process for a condition that is not an error of ours.

    Args:
        place: The key under which the condition is counted.
        message: A logging format string.
        args: Its arguments.
    """
    with _lock:
        failures[place] += 1
        first = failures[place] == 1
    if first:
        logger.warning(message, *args)


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}"


class guard:  # noqa: N801 - reads as a statement: with guard("reading a response")
    """A context in which a failure of ours is reported and goes no further."""

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    @staticmethod
    @functools.lru_cache(maxsize=1_000)
    def of(doing: str, target: str) -> guard:
        """Return the guard of doing something to a target, made once."""
        return guard(f"{doing} {target}")

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        report(self._place, error)
        return True


def quietly(function: Callable[..., Any], *args: Any) -> Any:
    """Return what `function` gives, or None where it fails; for foreign code whose failure means "unknown"."""
    try:
        return function(*args)
    except Exception:  # noqa: BLE001 - foreign values may do anything when they are looked at
        return None


def start_thread(name: str, work: Callable[..., None], *args: Any) -> threading.Thread | None:
    """Start a thread that holds up no exit; None where the interpreter is ending: from 3.12 on it starts none then."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
