"""What a destination has not got yet: records of segments, of this process and of others, and of memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import orjson

from nexus_otel._guard import quietly
from nexus_otel.export.died import died
from nexus_otel.export.owner import has_ended
from nexus_otel.export.retention import acknowledge, acknowledged, delete, is_delivered
from nexus_otel.export.segment import LOGS, METRICS, NOTE, SEALED, SPANS, Header, Records, Target, pack, read_records
from nexus_otel.export.spool import Spool
from nexus_otel.export.writer import SegmentFile, note

_SPANS_SIGNAL: Final = "traces"
KINDS: Final = {"traces": SPANS, "logs": LOGS, "metrics": METRICS}
BODY_BYTES: Final = 2 * 1024 * 1024


@dataclass(slots=True)
class Seen:
    """What is known of segments without looking at the disk again.

    Attributes:
        delivered: Up to where each has been delivered, for when that cannot be written down.
        path: The one that was read last.
        upto: Up to where it was read.
        texts: The texts of spans in it so far, by number.
    """

    delivered: dict[Path, int] = field(default_factory=dict)
    path: Path | None = None
    upto: int = 0
    texts: dict[int, bytes] = field(default_factory=dict)

    def turn_to(self, path: Path) -> None:
        """Forget the texts of another segment."""
        if path != self.path:
            self.path, self.upto, self.texts = path, 0, {}


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests to be sent as one.

    Attributes:
        payloads: The requests; joined they are one.
        ends: For each, up to where its source is delivered with it.
    """

    payloads: list[bytes]
    ends: list[int]

    def first(self, count: int) -> Batch:
        """Return the batch with its first `count` requests only."""
        return Batch(self.payloads[:count], self.ends[:count])


class Source(Protocol):
    """Where records wait for one destination."""

    def batch(self) -> Batch | None:
        """Return what comes next; None when nothing is left."""

    def delivered(self, end: int) -> None:
        """Remember that everything up to `end` has arrived."""

    def set_aside(self, payload: bytes) -> None:
        """Keep a request that the destination will never take."""


def _collect(records: Iterator[tuple[int, bytes, int]], kind: int) -> tuple[Batch, bool]:
    """Return the next requests of a kind, at least one and about `BODY_BYTES`, and whether these are the last."""
    batch = Batch([], [])
    size = 0
    for found, payload, end in records:
        if found != kind:
            continue
        size += len(payload)
        if size > BODY_BYTES and batch.payloads:
            return batch, False
        batch.payloads.append(payload)
        batch.ends.append(end)
    return batch, True


class SegmentSource:
    """A segment of which a destination may not have got everything.

    Args:
        path: The segment.
        header: Its header.
        target: The destination.
        seen: What is known of segments for this destination.
        live: Whether it is the one that this process writes to; if not, its lock is ours.
    """

    def __init__(self, path: Path, header: Header, target: Target, seen: Seen, *, live: bool) -> None:
        self._path = path
        self._header = header
        self._target = target
        self._seen = seen
        self._live = live
        offset, self.is_done = acknowledged(path, target)
        self._offset = max(offset, seen.delivered.get(path, 0))

    def batch(self) -> Batch | None:
        if self.is_done:
            self._put_away()
            return None
        batch, last = _collect(self._records(), KINDS[self._target.signal])
        if last and not self._live:
            self._add_last(batch)
        return batch if batch.payloads else None

    def count(self) -> int:
        """Return how many requests wait."""
        if self.is_done:
            return 0
        kind = KINDS[self._target.signal]
        return sum(found == kind for found, _payload, _end in self._records()) + len(self._died())

    def _records(self) -> Iterator[tuple[int, bytes, int]]:
        seen = self._seen
        seen.turn_to(self._path)
        base = min(seen.upto, self._offset)  # what was delivered was read, unless another process did it
        if not base:
            records = read_records(self._path)
            records.texts = seen.texts
        else:
            with self._path.open("rb") as file:
                file.seek(base)
                records = Records(file.read(), texts=seen.texts)
        try:
            for kind, payload, end in records.behind(self._offset - base):
                yield kind, payload, base + end
        finally:
            seen.upto = base + records.end

    def _add_last(self, batch: Batch) -> None:
        """Add what the end of its process makes of a segment to the last batch of it."""
        if not self._is_complete():
            return
        size = self._path.stat().st_size
        left = self._died()
        if left:
            batch.payloads.append(b"".join(left))
            batch.ends.append(size)
        if batch.payloads:
            batch.ends[-1] = size
        else:
            self.delivered(size)

    def _is_complete(self) -> bool:
        """Whether no span that begins here may still end in its living process."""
        return self._target.signal != _SPANS_SIGNAL or has_ended(self._header.owner) is not False or self._is_sealed()

    def _is_sealed(self) -> bool:
        notes = (payload for kind, payload, _end in read_records(self._path) if kind == NOTE)
        return any(SEALED in (quietly(orjson.loads, payload) or ()) for payload in notes)

    def _died(self) -> list[bytes]:
        if self._target.signal != _SPANS_SIGNAL or self._is_sealed():
            return []
        return died((kind, payload) for kind, payload, _end in read_records(self._path))

    def delivered(self, end: int) -> None:
        self._offset = self._seen.delivered[self._path] = end
        self.is_done = not self._live and self._is_complete() and end >= self._path.stat().st_size
        with suppress(OSError):  # a full disk: it is known in memory
            acknowledge(self._path, self._target, end, final=self.is_done)
        if self.is_done:
            self._put_away()

    def _put_away(self) -> None:
        """Delete the segment once every destination has got it, unless it is kept."""
        if not self._header.keep and is_delivered(self._path, self._header):
            delete(self._path)

    def set_aside(self, payload: bytes) -> None:
        _set_aside(self._path.parent, self._header, KINDS[self._target.signal], payload)


def _set_aside(folder: Path, header: Header, kind: int, payload: bytes) -> None:
    """Keep a request in a segment of its own that is never sent."""
    alone = replace(header, created_ns=time.time_ns(), targets=(), keep=True)
    with suppress(OSError):
        file = SegmentFile(folder, alone, 0)
        with suppress(OSError):
            file.append(pack(kind, payload) + note(set_aside=len(payload)))
        file.seal()
        file.close()


class MemorySource:
    """Records of this process that no disk took."""

    def __init__(self, spool: Spool, signal: str, positions: dict[str, int]) -> None:
        self._spool = spool
        self._signal = signal
        self._positions = positions

    def batch(self) -> Batch | None:
        first, records = self._spool.in_memory()
        position = max(first, self._positions.get(self._signal, 0))
        numbered = enumerate(records[position - first :], position + 1)
        batch, _last = _collect(((one[8], one[9:], end) for end, one in numbered), KINDS[self._signal])
        if batch.payloads:
            return batch
        if position < first + len(records):
            self.delivered(first + len(records))
        return None

    def delivered(self, end: int) -> None:
        self._positions[self._signal] = end
        self._spool.forget(min(self._positions.values()))

    def set_aside(self, payload: bytes) -> None:
        """Let it go: there is no disk to keep it on."""
