"""The file format of the spool: a header, then records, each with its length and checksum."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any, Final
from zlib import crc32

import orjson

from nexus_otel.config import NexusError
from nexus_otel.export.owner import Owner, has_ended, this_process
from nexus_otel.export.texts import joined, number_of, text_of
from nexus_otel.genai.plain import to_plain

try:
    import fcntl
except ImportError:  # not on Windows: there a file's age tells whether its process writes to it
    fcntl = None  # type: ignore[assignment]

HAS_LOCKS: Final = fcntl is not None

MAGIC: Final = b"NXSPOOL\x01"
VERSION: Final = 1
SPANS, BEGIN, LOGS, METRICS, BLOB, NOTE, CUT = range(1, 8)
SEALED: Final = "sealed"
"""The key of the note that ends a segment whose process went on with the next one."""

_RECORD: Final = Struct("<IIB")
_SIZE: Final = Struct("<I")
_HEAD: Final = _RECORD.size
_KIND_CRC: Final = [crc32(bytes((kind,))) for kind in range(256)]
_LONGEST_HEADER: Final = 1 << 20
_MAYBE_RECORD: Final = re.compile(rb"(?=.{3}[\x00-\x03].{4}[\x01-\x1f])", re.DOTALL)
_SILENT_S: Final = 600.0
_OWNER: Final = {"pid": int, "start_time": int, "boot_id": str, "pid_space": str}
_SEARCH: Final = 64
"""How many times the size of a file is checked at most for records behind damaged bytes."""


class ForeignFileError(NexusError):
    """A file among the segments is not one, or comes from a version that this one cannot read."""


@dataclass(frozen=True, slots=True)
class Target:
    """What may be known on disk of a destination; equal targets are the same destination.

    Attributes:
        signal: traces, logs or metrics.
        endpoint: The address without user, password and query.
        headers_hash: A hash of the names of its headers.
    """

    signal: str
    endpoint: str
    headers_hash: str


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says about itself.

    Attributes:
        owner: The process that writes it.
        created_ns: When it was made, in nanoseconds since 1970.
        content: The content policy of its records.
        targets: Where its records may be sent; nowhere when empty.
        keep: Whether it stays as a local copy once it was sent.
        resource: Attributes of the process's resource, for people.
    """

    owner: Owner
    created_ns: int
    content: str = "local"
    targets: tuple[Target, ...] = ()
    keep: bool = False
    resource: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the magic bytes and the header as they stand in a file."""
        body = {
            "version": VERSION,
            **asdict(self.owner),
            "created_ns": self.created_ns,
            "content": self.content,
            "destinations": [asdict(target) for target in self.targets],
            "keep": self.keep,
            "resource": to_plain(self.resource),
        }
        text = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        return MAGIC + _SIZE.pack(len(text)) + text


def new_header(targets: tuple[Target, ...], content: str, resource: Mapping[str, Any], *, keep: bool) -> Header:
    """Return the header of a segment that this process makes now."""
    return Header(this_process(), time.time_ns(), content, targets, keep, resource)


def _decoded(text: bytes) -> Header | None:
    try:
        body = orjson.loads(text)
        owner = Owner(*(kind(body[name]) for name, kind in _OWNER.items()))
        targets = tuple(Target(one["signal"], one["endpoint"], one["headers_hash"]) for one in body["destinations"])
        return Header(owner, body["created_ns"], body["content"], targets, body["keep"], body["resource"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def pack(kind: int, payload: bytes) -> bytes:
    """Return a record as it stands in a file."""
    return _RECORD.pack(len(payload), crc32(payload, _KIND_CRC[kind]), kind) + payload


class Records:
    """The records in `data` from `start` on; damaged ones are passed over.

    Attributes:
        data: What holds them.
        header: The segment's header, None where it is not in `data` or damaged.
        skipped: How many gaps of damaged bytes were passed over so far.
        end: Where the last sound record ends.
        torn: Whether bytes follow that make no record: one being written, or cut off.
        texts: The texts of spans met so far, by number.
    """

    def __init__(
        self, data: bytes, start: int = 0, header: Header | None = None, texts: dict[int, bytes] | None = None
    ) -> None:
        self.data = data
        self.header = header
        self.skipped = 0
        self.end = start
        self.torn = False
        self.texts: dict[int, bytes] = {} if texts is None else texts
        self._room = _SEARCH * len(data)

    def __iter__(self) -> Iterator[tuple[int, bytes, int]]:
        """Yield kind, payload, and the offset behind each record; spans are whole, with their texts in them."""
        yield from self.behind(0)

    def behind(self, offset: int) -> Iterator[tuple[int, bytes, int]]:
        """Yield as by iteration the records that end behind `offset`."""
        data = self.data
        for kind, start, end in self.places():
            payload = data[start:end] if kind == BLOB or end > offset else b""
            if kind == BLOB:
                self.texts[number_of(payload)] = text_of(payload)
            if end <= offset:
                continue
            if kind == CUT:
                whole = joined(payload, self.texts.get)
                if whole is None:
                    self.skipped += 1
                    continue
                kind, payload = SPANS, whole[0]  # noqa: PLW2901 - a span as any other
            yield kind, payload, end

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Yield kind, and the offsets of the beginning and the end of each record's payload."""
        data, position = self.data, self.end
        while position < len(data):
            end = _record_end(data, position)
            if end:
                self.end = end
                yield data[position + 8], position + _HEAD, end
                position = end
                continue
            following = self._next(position + 1)
            if following is None:
                self.torn = True
                return
            self.skipped += 1
            position = following

    def _next(self, position: int) -> int | None:
        """Return where the next sound record begins; None also where it takes too long to find."""
        for match in _MAYBE_RECORD.finditer(self.data, position):
            start = match.start()
            self._room -= min(_SIZE.unpack_from(self.data, start)[0], len(self.data))
            if self._room < 0:
                return None
            if _record_end(self.data, start):
                return start
        return None


def _record_end(data: bytes, position: int) -> int:
    """Return where the record at `position` ends; 0 where none is that is whole and sound."""
    if position + _HEAD > len(data):
        return 0
    size, checksum, kind = _RECORD.unpack_from(data, position)
    end: int = position + _HEAD + size
    if kind == 0 or end > len(data):
        return 0
    body = memoryview(data)[position + _HEAD : end]
    return end if crc32(body, _KIND_CRC[kind]) == checksum else 0


def read_records(path: Path) -> Records:
    """Return the records of a segment, to be iterated once.

    Raises:
        ForeignFileError: The file is no segment.
        OSError: It cannot be read.
    """
    return _opened(path, path.read_bytes())


def read_header(path: Path) -> Header | None:
    """Return the header of a segment, None when it is damaged or not yet written.

    Raises:
        ForeignFileError: The file is no segment.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(16_384)
        size = _SIZE.unpack_from(head, len(MAGIC))[0] if len(head) > len(MAGIC) + _SIZE.size else 0
        if len(head) < size < _LONGEST_HEADER:
            head += file.read(size)
    return _opened(path, head).header


def _opened(path: Path, data: bytes) -> Records:
    start = len(MAGIC) + _SIZE.size
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        newer = data.startswith(MAGIC[:-1])
        raise ForeignFileError(f"{path}: {'a segment of another version' if newer else 'not a segment of nexus-otel'}")
    if len(data) < start:
        return Records(data, len(data))
    size = _SIZE.unpack_from(data, len(MAGIC))[0]
    header = _decoded(data[start : start + size])
    if header is None:
        records = Records(data, start)
        records.skipped = 1 if len(data) >= start + min(size, _LONGEST_HEADER) else 0
        return records
    return Records(data, start + size, header)


# -- files ---------------------------------------------------------------------------------------------


def segment_name(header: Header, number: int) -> str:
    """Return the name of a process's segment; names sort by time."""
    return f"seg-{header.created_ns:016x}-{header.owner.pid}-{number}.nxs"


def segments(folder: Path) -> list[Path]:
    """Return the segments in `folder`, oldest first; none when there is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith("seg-") and path.suffix == ".nxs")
    except OSError:
        return []


def lock(descriptor: int) -> bool:
    """Take the lock of an open file without waiting; True also where there are no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_locked(path: Path) -> bool:
    """Whether a process holds the segment's lock; without locks, whether it was written to of late."""
    if fcntl is None:
        return time.time() - path.stat().st_mtime < _SILENT_S
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def is_orphan(path: Path, owner: Owner) -> bool:
    """Whether the process of a segment is gone; one out of sight lives while it holds the lock."""
    ended = has_ended(owner)
    return not is_locked(path) if ended is None else ended
