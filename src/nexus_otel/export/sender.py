"""Sends the spool on a thread of its own, from the first record on."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from nexus_otel import config
from nexus_otel._guard import guard, quietly
from nexus_otel.config import Settings
from nexus_otel.export.destinations import Destination, destinations
from nexus_otel.export.owner import after_fork
from nexus_otel.export.places import store_folders
from nexus_otel.export.segment import Target, is_orphan, read_header, segments
from nexus_otel.export.shipment import Seen, SegmentSource
from nexus_otel.export.shipper import Shipper
from nexus_otel.export.spool import Spool
from nexus_otel.export.transport import HasWay

LINGER_S: Final = 1.0
"""How long the first record waits for others."""
FULL_RECORDS: Final = 512
FULL_BYTES: Final = 1024 * 1024
_AT_EXIT_S: Final = 0.05
_HELD_S: Final = 0.1
"""How often a flush looks whether another process is done with what it sends."""


class Sender:
    """Sends what a spool records, and what dead processes left for the same destinations."""

    _full: bool

    def __init__(
        self, spool: Spool, destinations: Sequence[Destination | HasWay], settings: Settings | None = None
    ) -> None:
        self._spool = spool
        self._destinations = tuple(destinations)
        self._settings = settings or config.current()
        self._stopped = False
        self._renew()
        spool.on_record = self.notify
        after_fork(self._renew)

    @property
    def sent(self) -> int:
        """How many requests arrived."""
        return self._shipper.sent

    @property
    def rejected(self) -> int:
        """How many items of them a destination did not take."""
        return self._shipper.rejected

    def notify(self, size: int) -> None:
        """Know that a record of `size` bytes waits. Takes no lock: it may run in a finalizer."""
        if self._stopped:
            return
        self._bytes += size
        self._waiting += 1
        if self._waiting == 1:
            self._due = time.monotonic() + LINGER_S
            self._wake.put(None)
        elif not self._full and (self._waiting >= FULL_RECORDS or self._bytes >= FULL_BYTES):
            self._full = True
            self._wake.put(None)
        if self._thread is None:
            self._start()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send what waits, now.

        Args:
            timeout_s: How long to wait at most, in seconds; that of the exit when not given.

        Returns:
            Whether nothing is left undelivered.
        """
        until = time.monotonic() + (self._settings.exit_timeout_s if timeout_s is None else timeout_s)
        if self._stopped or (self._thread is None and not self._start()):
            return self._send_here(until)
        with self._answered:
            self._wanted += 1
            wanted = self._wanted
            self._wake.put(None)
            while not (self._served >= wanted and (self._delivered or self._shipper.next_try > until)):
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._answered.wait(left)
            return self._delivered

    def stop(self, timeout_s: float = 0.0) -> None:
        """End the thread, or leave it behind where it waits for a destination; what is left stays on disk."""
        self._stopped = True
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)
            with guard("hanging up"):
                self._shipper.hang_up()
        self._spool.close()
        if self._sending.acquire(timeout=_AT_EXIT_S):
            try:
                with guard("putting away what was sent"):
                    self._shipper.put_away()
            finally:
                self._sending.release()

    # -- the thread ----------------------------------------------------------------------------------------

    def _renew(self) -> None:
        """Begin anew, also in a forked child: the thread and the connections are the parent's."""
        self._shipper = Shipper(self._spool.home, self._destinations, self._spool)
        self._thread: threading.Thread | None = None
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._starting = threading.Lock()
        self._sending = threading.Lock()
        self._answered = threading.Condition()
        self._wanted = self._served = self._waiting = self._bytes = 0
        self._full = False
        self._delivered = True
        self._due = 0.0

    def _start(self) -> bool:
        """Start the thread; whether there is one. At the end of the interpreter none can be started."""
        if not self._starting.acquire(blocking=False):
            return True
        thread = threading.Thread(target=self._run, name="nexus-sender", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._starting.release()
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while not self._stopped:
            self._sleep()
            wanted = self._wanted
            if wanted > self._served:
                self._shipper.hurry()
            self._waiting = self._bytes = 0
            self._full = False
            delivered = False
            with guard("sending the spool"), self._sending:
                delivered = not self._stopped and self._shipper.round()
            with self._answered:
                self._served, self._delivered = wanted, delivered
                self._answered.notify_all()

    def _sleep(self) -> None:
        """Wait until there is something to do."""
        while not (self._stopped or self._full or self._wanted > self._served):
            look_or_linger = self._due if self._waiting else self._shipper.look_at
            left = min(self._shipper.next_try, look_or_linger) - time.monotonic()
            if left <= 0:
                return
            try:
                self._wake.get(timeout=left)
            except Empty:
                return

    def _send_here(self, until: float) -> bool:
        """Send on this thread."""
        if not self._sending.acquire(timeout=max(0.0, until - time.monotonic())):
            return False
        try:
            self._shipper.hurry()
            return self._shipper.round(until)
        finally:
            self._sending.release()


# -- the whole store, without a process that records -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlushReport:
    """What became of a store's undelivered data.

    Attributes:
        sent: Requests that arrived.
        left: Requests for the destinations of this environment that did not.
        foreign: Requests for other destinations, which were not tried.
        refusals: Which destinations refused data, and what to look at, a line each.
    """

    sent: int
    left: int
    foreign: int
    refusals: tuple[str, ...] = ()


def flush_store(home: Path, timeout_s: float) -> FlushReport:
    """Send what dead processes left in `home` for the destinations of the environment, or the standard's own.

    Args:
        home: The folder of the local store.
        timeout_s: How long to try, in seconds.

    Raises:
        SettingError: A variable has none of its values.
    """
    found = destinations(default=True)
    shipper = Shipper(home, found)
    until = time.monotonic() + timeout_s
    while not shipper.round(until) or shipper.is_held:
        again = min(shipper.next_try, time.monotonic() + _HELD_S) if shipper.is_held else shipper.next_try
        if again >= until:
            break
        time.sleep(max(0.0, again - time.monotonic()))
        shipper.look_at = 0.0
    left, foreign = _waiting(home, {one.target for one in found})
    return FlushReport(shipper.sent, left, foreign, shipper.refusals)


def _waiting(home: Path, ours: set[Target]) -> tuple[int, int]:
    """Return how many requests of dead processes wait for `ours`, and how many for other destinations."""
    left = foreign = 0
    for path in (path for folder in store_folders(home) for path in segments(folder)):
        header = quietly(read_header, path)
        if header is None or not quietly(is_orphan, path, header.owner):
            continue
        for target in header.targets:
            count = quietly(SegmentSource(path, header, target, Seen(), live=False).count) or 0
            if target in ours:
                left += count
            else:
                foreign += count
    return left, foreign
