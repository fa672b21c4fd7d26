"""Writes records to disk: into a segment at home, else in a temporary folder, else into memory."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from nexus_otel._guard import guard, note_once
from nexus_otel._private import make_private
from nexus_otel.export import pace
from nexus_otel.export.places import (
    is_remote,
    make_stand_in,
    spool_folder,
)
from nexus_otel.export.retention import Dropped, Kept, tidy
from nexus_otel.export.segment import BLOB, CUT, NOTE, SEALED, SPANS, Header, lock, pack, segment_name
from nexus_otel.export.texts import Cut, Known

ROTATE_BYTES: Final = 4 * 1024 * 1024
MEMORY_BYTES: Final = 32 * 1024 * 1024
_RETRY_S: Final = 30.0
"""How long a folder is left alone that could not be written to."""
_LOOK_S: Final = 1.0
"""How often it is seen whether the segment was deleted under us."""


Record = bytes | Cut
"""A record as it stands in a file; or a span with long texts, of which a segment lacks some."""


def _whole(record: Record) -> bytes:
    """Return a record that needs no other."""
    return record if isinstance(record, bytes) else pack(SPANS, b"".join(record.parts))


class Memory:
    """Records that are on no disk; the oldest give way."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.records: deque[bytes] = deque()
        self.dropped = 0
        self.taken = 0
        self._bytes = 0
        self._limit = limit

    def extend(self, records: Iterable[bytes]) -> None:
        """Keep `records`."""
        for record in records:
            self.records.append(record)
            self._bytes += len(record)
        while self._bytes > self._limit and len(self.records) > 1:
            self._bytes -= len(self.records.popleft())
            self.dropped += 1
            self.taken += 1

    def forget(self, upto: int) -> None:
        """Let go of the records before number `upto`, counted from the first there ever was."""
        while self.taken < upto and self.records:
            self._bytes -= len(self.records.popleft())
            self.taken += 1

    def clear(self) -> None:
        """Forget everything, also how much was dropped."""
        self.forget(self.taken + len(self.records))
        self.dropped = 0


def note(**facts: object) -> bytes:
    """Return a record that says something about the others."""
    return pack(NOTE, orjson.dumps({**facts, "time_ns": time.time_ns()}))


class SegmentFile:
    """A segment that this process writes to, under its lock."""

    def __init__(self, folder: Path, header: Header, number: int) -> None:
        self.path = folder / segment_name(header, number)
        self.pid = header.owner.pid
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(self.path, flags | getattr(os, "O_BINARY", 0), 0o600)
        self.size = 0
        self._known = Known()
        try:
            _lock_surely(self._descriptor)
            self.append(header.encode())
        except OSError:
            self.close()
            with suppress(OSError):
                self.path.unlink()
            raise

    def joined(self, records: Sequence[Record]) -> bytes:
        """Return the bytes to be written here for records, before any other: they count on those before them."""
        if len(records) == 1 and isinstance(records[0], bytes):
            return records[0]
        parts: list[bytes] = []
        for record in records:
            if isinstance(record, bytes):
                parts.append(record)
                continue
            texts, span = self._known.records(record)
            parts.extend(pack(BLOB, text) for text in texts)
            parts.append(pack(CUT, span))
        return b"".join(parts)

    def append(self, data: bytes) -> None:
        """Write `data`, all of it or nothing.

        Raises:
            OSError: The disk is full, or gone.
        """
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    @property
    def is_deleted(self) -> bool:
        """Whether somebody deleted the file, so that what is written is lost."""
        return os.fstat(self._descriptor).st_nlink == 0

    def seal(self) -> None:
        """Write that nothing follows: spans that are open here end elsewhere."""
        with suppress(OSError):
            self.append(note(**{SEALED: True}))

    def close(self) -> None:
        """Close it. In a forked child this leaves the parent's lock alone."""
        with suppress(OSError):
            os.close(self._descriptor)


def _lock_surely(descriptor: int) -> None:
    """Take the lock of a new file; a reader that looks whether it is locked holds it for a moment."""
    for _moment in range(20):
        if lock(descriptor):
            return
        time.sleep(0.001)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the segments of a process are made.

    Attributes:
        home: The folder of the local store.
        header: Gives the header of a segment made now.
        open_spans: Gives the begin records that every segment must hold anew.
        kept: What the store may hold.
        in_memory: Whether nothing is written to disk.
    """

    home: Path
    header: Callable[[], Header]
    open_spans: Callable[[], Sequence[bytes]]
    kept: Kept
    in_memory: bool = False


class Writer:
    """Where the records of this process go; the caller sees to it that one thread writes at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._number = 0
        self._place = 0
        self._retry_at = [0.0, 0.0]
        self._look_at = 0.0
        self._rotate_at = ROTATE_BYTES
        self.segment: SegmentFile | None = None
        self.memory = Memory()
        self.pace = pace.Pace()

    def write(self, records: Sequence[Record]) -> None:
        """Write records; where no disk takes them, keep them in memory. Never raises OSError."""
        if self._plan.in_memory:
            self.memory.extend(map(_whole, records))
            return
        begun = pace.now()
        self._store(records)
        self.pace.wrote(begun)

    def _store(self, records: Sequence[Record]) -> None:
        for _place in self._retry_at:
            segment = self._current()
            if segment is None:
                break
            if self._appended(segment, segment.joined(records)):
                return
        self.memory.extend(map(_whole, records))

    def _appended(self, segment: SegmentFile, data: bytes) -> bool:
        try:
            if (now := time.monotonic()) >= self._look_at:
                self._look_at = now + _LOOK_S
                if segment.is_deleted:
                    raise FileNotFoundError(errno.ENOENT, "deleted while in use", str(segment.path))
            segment.append(data)
        except OSError as error:
            self.close()
            self._give_up(self._place, error)
            return False
        if segment.size >= self._rotate_at:
            self._rotate(segment)
        return True

    def _current(self) -> SegmentFile | None:
        if self.segment is None:
            self.segment = self._opened()
            if self.segment is not None and self.memory.records:
                self._move_memory(self.segment)
        return self.segment

    def _move_memory(self, segment: SegmentFile) -> None:
        records = list(self.memory.records)
        if self.memory.dropped:
            records.append(note(dropped=self.memory.dropped))
        with suppress(OSError):
            segment.append(b"".join(records))
            self.memory.clear()

    def _give_up(self, place: int, error: OSError) -> None:
        """Leave a place alone for a while."""
        self._retry_at[place] = time.monotonic() + _RETRY_S
        note_once(
            f"storing in {'a temporary folder' if place else 'the store'}",
            "nexus-otel cannot write to %s (%s); records are kept in %s",
            error.filename or self._plan.home, error.strerror or error, "memory" if place else "a temporary folder",
        )  # fmt: skip

    def _opened(self) -> SegmentFile | None:
        """Return a new segment in the first place that takes one, or None."""
        home = self._plan.home
        for place, make in enumerate((_home_folder, make_stand_in)):
            if self._retry_at[place] > time.monotonic():
                continue
            try:
                segment = self._new(make(home))
            except OSError as error:
                self._give_up(place, error)
                continue
            self._place = place
            return segment
        return None

    def _new(self, folder: Path) -> SegmentFile:
        dropped = Dropped()
        with guard("tidying the store"):
            dropped = tidy(folder, self._plan.kept)
        self._number += 1
        segment = SegmentFile(folder, self._plan.header(), self._number)
        first = list(self._plan.open_spans())
        if dropped.segments:
            note_once(
                "making room in the store",
                "nexus-otel deleted data that was not sent: the store was full",
            )
            first.append(note(dropped_segments=dropped.segments, dropped_bytes=dropped.bytes))
        try:
            segment.append(b"".join(first))
        except OSError:
            segment.close()
            raise
        self._rotate_at = segment.size + max(ROTATE_BYTES, segment.size)  # most of it is new, however many are open
        return segment

    def _rotate(self, old: SegmentFile) -> None:
        """Go on in a new segment, then seal the old one: until then it counts as the process's last."""
        new = self._opened()
        if new is None:
            self._rotate_at = old.size + ROTATE_BYTES
            return
        old.seal()
        old.close()
        self.segment = new

    def close(self, *, seal: bool = False) -> None:
        """Close the segment; the next record opens another.

        Args:
            seal: Whether every span that the segment tells the beginning of has ended.
        """
        segment, self.segment = self.segment, None
        if segment is not None:
            if seal:
                segment.seal()
            segment.close()

    def forked(self) -> None:
        """Forget what the parent has: its segment, and what it keeps in memory."""
        self.close()
        self.memory = Memory()
        self._number = 0


def _home_folder(home: Path) -> Path:
    if is_remote(home):
        raise OSError(errno.EREMOTE, "on a network file system", str(home))
    folder = spool_folder(home)
    make_private(folder)
    return folder
