"""Keeps how long steps usually take from one process to the next, on a thread that nobody waits for."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Final

from nexus_otel._guard import report, start_thread
from nexus_otel.detect.baselines import Baselines
from nexus_otel.processors import detecting

_EVERY_S: Final = 60.0
_AT_EXIT_S: Final = 0.5
"""How long the end of a process waits for the file: a disk may hang."""


class History:
    """The baselines of this process, and the file that they come from and go to.

    The thread is there from the beginning: none can be started any more when the process ends.

    Args:
        lock: Held whenever the baselines are used.
    """

    def __init__(self, lock: Any) -> None:
        self.baselines = Baselines()
        self._lock = lock
        self._next_s: float
        self._thread: threading.Thread | None
        self._wanted: threading.Event
        self._written: threading.Event
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)
        self._start(self._read)

    def run_ended(self) -> None:
        """Have the file written, if that was not done in the last minute."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _EVERY_S
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self._wanted.set()

    def close(self) -> None:
        """Have the file written; half a second is waited for it."""
        self._written.clear()
        self._wanted.set()
        if self._thread is None:
            self._guarded(self._write)
        elif self._thread.is_alive():
            self._written.wait(_AT_EXIT_S)

    def _start(self, *first: Any) -> None:
        self._next_s = time.monotonic() + _EVERY_S
        self._wanted, self._written = threading.Event(), threading.Event()
        self._thread = start_thread("nexus-otel-history", self._work, *first)

    def _work(self, *first: Any) -> None:
        for work in first:
            self._guarded(work)
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._guarded(self._write)
            self._written.set()

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except OSError:  # there is no place for it: the next process begins without
            return
        except Exception as error:  # noqa: BLE001 - ours
            report("keeping how long steps take", error)

    def _read(self) -> None:
        stored = detecting.stored()
        with self._lock:
            self.baselines.absorb(stored)

    def _write(self) -> None:
        with self._lock:
            new = self.baselines.take_new()
        if new:
            detecting.store(new)

    def _in_child(self) -> None:
        """Leave to the parent what is the parent's; its thread is not here."""
        self.baselines.take_new()
        self._next_s = 0.0
