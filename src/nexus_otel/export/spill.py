"""The spans of a file by trace: put aside in a temporary file, so that memory holds one run at a time."""

from __future__ import annotations

import marshal
import tempfile
import weakref
from array import array
from collections.abc import Collection, Iterable
from dataclasses import fields
from operator import attrgetter
from typing import IO, Any, Final

from nexus_otel.export.read import StoredEvent, StoredLink, StoredSpan

_NAMES: Final = [one.name for one in fields(StoredSpan)]
_FIELDS: Final = attrgetter(*_NAMES)
_EVENTS, _LINKS = _NAMES.index("events"), _NAMES.index("links")
_BUFFER: Final = 1 << 20


class Spilled:
    """Spans that were read once, as `scan.Scan` gives those of a store.

    Attributes:
        newest: For each trace the latest start of a span of it.
        marked: All traces: nothing was searched for.
    """

    def __init__(self, spans: Iterable[StoredSpan]) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=_BUFFER)  # noqa: SIM115 - as long as this lives
        weakref.finalize(self, self._file.close)
        self._places: dict[bytes, array[int]] = {}
        self.newest: dict[bytes, int] = {}
        start = 0
        for span in spans:
            data = marshal.dumps(_plain(span))
            self._file.write(data)
            trace = _key(span.trace_id)
            self._places.setdefault(trace, array("Q")).extend((start, len(data)))
            self.newest[trace] = max(self.newest.get(trace, 0), span.start_ns)
            start += len(data)
        self.marked = set(self._places)

    @property
    def trace_ids(self) -> Collection[bytes]:
        """The traces."""
        return self._places.keys()

    def read(self, trace_ids: Iterable[bytes]) -> list[StoredSpan]:
        """Return the spans of the traces, each once, by start."""
        found: dict[tuple[str, str], StoredSpan] = {}
        for trace in trace_ids:
            places = self._places.get(trace, array("Q"))
            for start, size in zip(places[::2], places[1::2], strict=True):
                self._file.seek(start)
                span = _span(self._file.read(size))
                found.setdefault((span.trace_id, span.span_id), span)
        return sorted(found.values(), key=lambda span: (span.start_ns, span.trace_id))

    def traces_with_span(self, beginning: str) -> set[bytes]:
        """Return the traces with a span whose id begins so, in lower-case hex."""
        return {trace for trace in self._places if any(one.span_id.startswith(beginning) for one in self.read([trace]))}


def _key(trace_id: str) -> bytes:
    try:
        return bytes.fromhex(trace_id)
    except ValueError:  # another encoding: it is told from others all the same
        return trace_id.encode("utf-8", "replace")


def _plain(span: StoredSpan) -> list[Any]:
    values = list(_FIELDS(span))
    values[_EVENTS] = [(one.name, one.time_ns, one.attributes) for one in span.events]
    values[_LINKS] = [(one.trace_id, one.span_id, one.attributes) for one in span.links]
    return values


def _span(data: bytes) -> StoredSpan:
    values = marshal.loads(data)  # noqa: S302 - a file of our own, which nobody else can open
    values[_EVENTS] = [StoredEvent(*one) for one in values[_EVENTS]]
    values[_LINKS] = [StoredLink(*one) for one in values[_LINKS]]
    return StoredSpan(*values)
