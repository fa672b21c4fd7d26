"""The spool of one process: spans and other telemetry on disk as they happen."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import get_ident
from typing import Any, Final, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from nexus_otel import config
from nexus_otel._guard import guard, note_once
from nexus_otel.config import Settings
from nexus_otel.export import pace
from nexus_otel.export.owner import after_fork
from nexus_otel.export.retention import Kept
from nexus_otel.export.segment import BEGIN, SPANS, Header, Target, new_header, pack
from nexus_otel.export.texts import Cut, cut
from nexus_otel.export.wire import encode_begin, encode_parts
from nexus_otel.export.writer import Plan, Record, Writer, note
from nexus_otel.genai.content import beside

BATCH_S: Final = 0.05
"""How long a record waits in memory when the process writes on a thread."""
_OPEN_SPANS: Final = 10_000
_OPEN_BYTES: Final = 262_144
"""How many begin records, and how large, are written anew into the segments that follow."""
_QUEUE_BYTES: Final = 64 * 1024 * 1024
_MEGABYTE: Final = 1024 * 1024
_HUNG_S: Final = 1.0
"""How long a write of another thread is waited for by who wants everything written."""

SpanKey = tuple[int, int]
"""Trace id and span id."""


class HasTarget(Protocol):
    """A destination, as far as a spool needs to know it."""

    @property
    def target(self) -> Target: ...


class _Turn:
    """A lock that knows its holder, for a finalizer may record a span in the middle of a write, and since when."""

    __slots__ = ("_holder", "_lock", "_since")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0
        self._since = 0.0

    def take(self, limit_s: float) -> bool:
        """Take it, unless its holder makes no progress for `limit_s` seconds, counted from the holder's last step."""
        asked = time.monotonic()
        while not self._lock.acquire(blocking=False):
            left = (self._since or asked) + limit_s - time.monotonic()
            if left <= 0:
                return False
            if self._lock.acquire(timeout=left):
                break
        self._holder = get_ident()
        self.step()
        return True

    def step(self) -> None:
        """Say that its holder makes progress."""
        self._since = time.monotonic()

    def give(self) -> None:
        """Give it back."""
        self._holder = 0
        self._since = 0.0
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._holder = get_ident()
        self.step()

    def __exit__(self, *_error: object) -> None:
        self.give()

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return self._holder == get_ident()


class Spool:
    """Everything that this process records, in segments of its own.

    Attributes:
        targets: Where the records may be sent; nowhere when empty.
        on_record: Called with the size of each record that is to be sent.
        dropped: How many records were lost because the disk was too slow.
    """

    def __init__(
        self, home: Path, header: Callable[[], Header], settings: Settings, targets: tuple[Target, ...]
    ) -> None:
        self.home = home.absolute()
        self.targets = targets
        self.on_record: Callable[[int], None] | None = None
        self.dropped = 0
        self._unsaid = 0
        self.settings = settings
        self._is_batch = settings.durability == "batch"
        self._pid = os.getpid()
        self._open: dict[SpanKey, bytes] = {}
        self._inherited: frozenset[SpanKey] = frozenset()
        kept = Kept(settings.store_keep_days, int(settings.store_max_mb * _MEGABYTE))
        in_memory = settings.durability == "memory"
        self._writer = Writer(Plan(self.home, header, lambda: list(self._open.values()), kept, in_memory))
        self._pace = self._writer.pace
        self._renew()
        after_fork(self._forked)

    @classmethod
    def open(
        cls,
        home: Path,
        destinations: Sequence[HasTarget] = (),
        content: str = "local",
        resource: Mapping[str, Any] | None = None,
        settings: Settings | None = None,
    ) -> Spool:
        """Return the spool of this process. The disk is touched at the first record.

        Args:
            home: The folder of the local store; it need not exist.
            destinations: Where the records may be sent; without one they stay here.
            content: The content policy, written into each segment.
            resource: Attributes of the resource, written into each segment.
            settings: Those in force when not given.
        """
        settings = settings or config.current()
        targets = tuple(destination.target for destination in destinations)
        keep = "local" in (settings.export or ())
        facts = dict(resource or {})
        return cls(home, lambda: new_header(targets, content, facts, keep=keep), settings, targets)

    @property
    def live_segment(self) -> Path | None:
        """The file that is being written to."""
        segment = self._writer.segment
        return segment.path if segment is not None and segment.pid == os.getpid() else None

    def append(self, kind: int, payload: bytes) -> None:
        """Record `payload`. Never raises for the disk."""
        self._put(pack(kind, payload))
        if self.on_record is not None:
            self.on_record(len(payload))

    def begin(self, key: SpanKey, payload: bytes) -> None:
        """Record that a span has begun."""
        if self._pid != os.getpid():
            self._forked()
        record = pack(BEGIN, payload)
        self._put(record)
        if len(self._open) < _OPEN_SPANS and len(record) < _OPEN_BYTES:
            self._open[key] = record

    def end(self, key: SpanKey, span: bytes | Cut) -> None:
        """Record a span that has ended: the request that holds it, or with its long texts apart."""
        self._open.pop(key, None)
        if isinstance(span, bytes):
            self.append(SPANS, span)
            return
        self._put(span)
        if self.on_record is not None:
            self.on_record(len(span))

    def is_inherited(self, key: SpanKey) -> bool:
        """Whether the process that forked this one began the span, and so will end it."""
        if self._pid != os.getpid():
            self._forked()
        return key in self._inherited

    def flush(self) -> None:
        """Write what waits for the thread, unless the disk hangs."""
        if self._takes_turn():
            try:
                self._write_queue()
            finally:
                self._turn.give()

    def close(self) -> None:
        """Write everything and let go of the segment, unless the disk hangs; a later record opens another."""
        if self._takes_turn():
            try:
                self._write_queue()
                self._writer.close(seal=not self._open)
            finally:
                self._turn.give()

    # -- records on no disk ----------------------------------------------------------------------------

    def in_memory(self) -> tuple[int, list[bytes]]:
        """Return the records that no disk took, and the number of the first."""
        if not self._takes_turn():
            return 0, []
        try:
            memory = self._writer.memory
            return memory.taken, list(memory.records)
        finally:
            self._turn.give()

    def forget(self, upto: int) -> None:
        """Let go of the records in memory before number `upto`."""
        with self._turn:
            self._writer.memory.forget(upto)

    # -- writing ---------------------------------------------------------------------------------------

    def _renew(self) -> None:
        self._turn = _Turn()
        self._starting = threading.Lock()
        self._queue: deque[Record] = deque()
        self._queued_bytes = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def _takes_turn(self) -> bool:
        taken = self._turn.take(_HUNG_S)
        if not taken:
            note_once("waiting for a disk that hangs", "nexus-otel: the disk hangs; records wait in memory")
        return taken

    def _put(self, record: Record) -> None:
        if self._pid != os.getpid():
            self._forked()
        if not self._write_at_once(record):
            self._enqueue(record)

    def _write_at_once(self, record: Record) -> bool:
        """Write a record here and now; False when that would make the caller wait for a slow disk."""
        turn, behind = self._turn, self._pace
        if self._is_batch or behind.is_behind or turn.is_mine or not turn.take(pace.SLOW_S):
            return False
        try:
            if behind.is_behind:  # by the write that was waited for
                return False
            if self._queue:
                self._write_queue()
            self._writer.write((record,))
            if self._queue:
                self._write_queue()
        finally:
            turn.give()
        return True

    def _enqueue(self, record: Record) -> None:
        if self._queued_bytes > _QUEUE_BYTES:
            self.dropped += 1
            self._unsaid += 1
            note_once("waiting for a slow disk", "nexus-otel dropped records: the disk is too slow")
            return
        self._queued_bytes += len(record)
        self._queue.append(record)
        if self._thread is None and not self._turn.is_mine:
            self._start()

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):  # by another thread, or by this one, before a finalizer
            return
        try:
            if self._thread is not None:
                return
            thread = threading.Thread(target=_write_often, args=(weakref.ref(self), self._stop), name="nexus-spool")
            thread.daemon = True
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending
                self.flush()
                return
            self._thread = thread
            atexit.register(_flush, weakref.ref(self))
        finally:
            self._starting.release()

    def _write_queue(self) -> None:
        """Write what is queued, about a megabyte at a time; the turn is ours."""
        self._queued_bytes = 0
        if self._unsaid:
            self._queue.append(note(dropped=self._unsaid))
            self._unsaid = 0
        records: list[Record] = []
        size = 0
        while self._queue:
            records.append(self._queue.popleft())
            size += len(records[-1])
            if size >= _MEGABYTE or not self._queue:
                self._writer.write(records)
                self._turn.step()
                records, size = [], 0

    def _forked(self) -> None:
        """Begin anew in a forked child: what is open and what is queued is the parent's."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._renew()
        self._inherited |= self._open.keys()
        self._open = {}
        self._writer.forked()


def _write_often(spool: weakref.ref[Spool], stop: threading.Event) -> None:
    while not stop.wait(BATCH_S):
        alive = spool()
        if alive is None:
            return
        with guard("writing to the spool"):
            alive.flush()
        del alive


def _flush(spool: weakref.ref[Spool]) -> None:
    alive = spool()
    if alive is not None:
        alive.flush()


# -- spans ---------------------------------------------------------------------------------------------

_beginning: Final = guard("recording that a span began")
_ending: Final = guard("recording a span")


class SpoolProcessor(SpanProcessor):
    """Puts the spans of a provider into a spool, as they begin and as they end."""

    _is_own = True
    """Whether the content beside a span is this processor's, to take or to drop."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._takes_content = not spool.targets
        if self._takes_content:
            beside.wanted = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the interface's
        with _beginning:
            context = span.context
            if context.trace_flags & 1:
                self._spool.begin((context.trace_id, context.span_id), encode_begin(span))

    def on_end(self, span: ReadableSpan) -> None:
        with _ending:
            context = span.context
            key = (context.trace_id, context.span_id)
            apart = beside.take(*key) if self._is_own else None
            if context.trace_flags & 1 and not self._spool.is_inherited(key):
                parts = encode_parts(span, apart if self._takes_content else None)
                self._spool.end(key, cut(key, span.start_time or 0, parts) or b"".join(parts))

    def shutdown(self) -> None:
        if self._takes_content:
            beside.wanted = False
        with guard("closing the spool"):
            self._spool.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the interface's
        with guard("flushing the spool"):
            self._spool.flush()
        return True
