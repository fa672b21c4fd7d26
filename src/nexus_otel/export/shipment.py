"""What a destination has not got yet: records of segments, of this process and of dead ones, and of memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from nexus_otel._guard import quietly
from nexus_otel.export.died import died
from nexus_otel.export.owner import has_ended, this_process
from nexus_otel.export.retention import acknowledge, acknowledged, delete, is_delivered
from nexus_otel.export.segment import LOGS, METRICS, NOTE, SEALED, SPANS, Header, Records, Target
from nexus_otel.export.segment import lock, read_header, read_records
from nexus_otel.export.spool import Spool

KINDS: Final = {"traces": SPANS, "logs": LOGS, "metrics": METRICS}
BODY_BYTES: Final = 2 * 1024 * 1024
_HEAD: Final = 9
"""Bytes of a record before its payload."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records for one request.

    Attributes:
        payloads: The requests in them; joined they are one request.
        ends: For each payload, up to where the source is delivered with it.
    """

    payloads: list[bytes]
    ends: list[int]

    def first(self, count: int) -> Batch:
        """Return the batch with its first `count` records only."""
        return Batch(self.payloads[:count], self.ends[:count])


class SegmentSource:
    """A segment of which a destination has not got everything."""

    def __init__(self, path: Path, header: Header, target: Target, *, live: bool) -> None:
        self.path = path
        self._header = header
        self._target = target
        self._live = live
        self._offset = acknowledged(path, target)

    def batch(self, limit: int = BODY_BYTES) -> Batch | None:
        """Return the next records, at least one and up to about `limit` bytes; None when there is none left."""
        data = self.path.read_bytes()
        whole = read_records_of(data, self.path)
        records = Records(data, max(self._offset, whole.end))
        kind = KINDS[self._target.signal]
        payloads: list[bytes] = []
        ends: list[int] = []
        size = 0
        for found, payload, end in records:
            if found != kind:
                continue
            if payloads and size + len(payload) > limit:
                return Batch(payloads, ends)
            size += len(payload)
            payloads.append(payload)
            ends.append(end)
        if self._live:
            return Batch(payloads, ends) if payloads else None
        return self._last(data, payloads, ends, whole)
