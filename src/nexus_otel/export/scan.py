"""One pass over the segments of a store: where each span stands, of which trace; decoded is only what is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import orjson

from nexus_otel._guard import quietly
from nexus_otel.export import texts
from nexus_otel.export.died import Found, parsed, spans_of
from nexus_otel.export.heads import head
from nexus_otel.export.owner import Owner
from nexus_otel.export.places import store_folders
from nexus_otel.export.segment import (
    BEGIN,
    BLOB,
    CUT,
    NOTE,
    SEALED,
    SPANS,
    ForeignFileError,
    Records,
    is_orphan,
    read_records,
    segments,
)

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

_TRACE: Final = 16
"""Bytes of a trace id; a span's key is that and its span id."""

Place = tuple[int, int, int]
"""The number of a file, and from where to where a record's payload lies in it."""


@dataclass(slots=True)
class Span(Found):
    """A span, and what became of it."""

    open: bool = False
    died: bool = False


@dataclass(slots=True)
class _Process:
    """What the segments of one process say of spans that did not end."""

    begun: dict[bytes, Place] = field(default_factory=dict)
    last: Path | None = None
    records: list[Place] = field(default_factory=list)
    latest_ns: int | None = None


class Scan:
    """Where the spans of a store stand.

    Attributes:
        skipped: How many damaged records were passed over so far.
        files: The segments that were read.
        foreign: A line for each file among them that is none.
        newest: For each trace the latest start of a span of it.
        marked: The traces with one of the needles, or with a span that did not end.
    """

    def __init__(
        self, home: Path | None, pid: int | None = None, needles: Sequence[bytes] = (), files: Sequence[Path] = ()
    ) -> None:
        self._ended: dict[bytes, Place] = {}
        self._processes: dict[Owner | None, _Process] = defaultdict(_Process)
        self._keys: dict[bytes, list[bytes]] = {}
        self._texts: list[texts.Places] = []
        self._needles = needles
        self.skipped = 0
        self.files: list[Path] = []
        self.foreign: list[str] = []
        self.newest: dict[bytes, int] = {}
        self.marked: set[bytes] = set()
        for folder in store_folders(home) if home is not None else ():
            for path in segments(folder):
                if pid is None or path.stem.split("-")[2:3] == [str(pid)]:
                    self._read(path)
        for path in files:
            self._read(path)
        self._group()

    # -- the pass ------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> None:
        try:
            records = read_records(path)
        except ForeignFileError as error:
            self.foreign.append(str(error))
            return
        except OSError:  # deleted by its process in the meantime, or not ours to read
            return
        self.files.append(path)
        self._texts.append(texts.Places())
        process = self._processes[records.header.owner if records.header else None]
        begun, sealed = self._take(records, process)
        if not sealed:  # a sealed segment's open spans stand in the next one too
            for start, end in begun:
                self._note(records.data, start, end, process.begun)
            process.last = path
        self.skipped += records.skipped
        if records.torn and (records.header is None or quietly(is_orphan, path, records.header.owner)):
            self.skipped += 1

    def _take(self, records: Records, process: _Process) -> tuple[list[tuple[int, int]], bool]:
        begun: list[tuple[int, int]] = []
        number, data, sealed = len(self.files) - 1, records.data, False
        for kind, start, end in records.places():
            if kind in {SPANS, CUT}:
                self._note(data, start, end, self._ended, cut=kind == CUT)
            elif kind == BEGIN:
                begun.append((start, end))
            elif kind == BLOB:
                self._texts[number].add(texts.number_of(data[start : start + 4]), start + 4, end)
                continue
            elif kind == NOTE:
                sealed = sealed or SEALED in (quietly(orjson.loads, data[start:end]) or ())
                continue
            else:
                continue
            process.records.append((number, start, end))
        return begun, sealed

    def _note(self, data: bytes, start: int, end: int, into: dict[bytes, Place], *, cut: bool = False) -> None:
        """Note where the spans of a record stand; the first record of a span counts."""
        found = texts.head_of(data, start, end) if cut else head(data, start, end)
        heads = [found] if found is not None else None if cut else _heads(data[start:end])
        if heads is None:
            self.skipped += 1
            return
        place, newest = (len(self.files) - 1, start, end), self.newest
        for key, start_ns in heads:
            into.setdefault(key, place)
            trace = key[:_TRACE]
            if newest.get(trace, -1) < start_ns:
                newest[trace] = start_ns
            if any(data.find(needle, start, end) >= 0 for needle in self._needles):
                self.marked.add(trace)

    def _group(self) -> None:
        """Gather the spans of each trace."""
        for key in self._ended:
            self._keys.setdefault(key[:_TRACE], []).append(key)
        for process in self._processes.values():
            process.begun = {key: place for key, place in process.begun.items() if key not in self._ended}
            for key in process.begun:
                self._keys.setdefault(key[:_TRACE], []).append(key)
                self.marked.add(key[:_TRACE])

    # -- what was found ------------------------------------------------------------------------------------

    @property
    def trace_ids(self) -> Collection[bytes]:
        """The traces."""
        return self._keys.keys()

    def traces_with_span(self, beginning: str) -> set[bytes]:
        """Return the traces with a span whose id begins so, in lower-case hex."""
        every = (key for keys in self._keys.values() for key in keys)
        return {key[:_TRACE] for key in every if key[_TRACE:].hex().startswith(beginning)}

    def files_of(self, trace_ids: Iterable[bytes]) -> frozenset[Path]:
        """Return the segments in which spans of the traces stand."""
        keys = {key for trace in trace_ids for key in self._keys.get(trace, ())}
        tables = [self._ended, *(process.begun for process in self._processes.values())]
        return frozenset(self.files[table[key][0]] for table in tables for key in keys if key in table)

    def read(self, trace_ids: Iterable[bytes]) -> list[StoredSpan]:
        """Return the spans of the traces, by start."""
        from nexus_otel.export.read import stored

        return stored(self, trace_ids)

    def spans(self, trace_ids: Iterable[bytes] | None = None) -> Iterator[Span]:
        """Yield each span of the traces once; of all traces when not given."""
        keys = {key for trace in (self._keys if trace_ids is None else trace_ids) for key in self._keys.get(trace, ())}
        yield from self._decoded({key: self._ended[key] for key in keys if key in self._ended})
        for owner, process in self._processes.items():
            left = {key: place for key, place in process.begun.items() if key in keys}
            if not left or process.last is None:
                continue
            died = owner is None or quietly(is_orphan, process.last, owner) is True
            for found in self._decoded(left):
                found.open, found.died = not died, died
                if died:
                    found.finish(self._latest_ns(process))
                yield found

    def _latest_ns(self, process: _Process) -> int:
        """Return the last sign of life of a process."""
        if process.latest_ns is None:
            requests = (parsed(payload) for _place, payload in self._payloads(process.records))
            every = (found for request in requests if request is not None for found in spans_of(request))
            process.latest_ns = max((found.latest_ns for found in every), default=0)
        return process.latest_ns

    def _decoded(self, wanted: dict[bytes, Place]) -> Iterator[Span]:
        places = defaultdict(set)
        for key, place in wanted.items():
            places[place].add(key)
        for place, payload in self._payloads(sorted(places)):
            request = parsed(payload)
            if request is None:
                self.skipped += 1
                continue
            for found in spans_of(request):
                if found.key in places[place]:
                    places[place].discard(found.key)
                    yield Span(found.span, found.around, found.scope)

    def _payloads(self, places: Sequence[Place]) -> Iterator[tuple[Place, bytes]]:
        """Yield the requests at places in the order of files; those in files that are gone by now are left out."""
        opened, file = -1, None
        try:
            for place in places:
                number, start, end = place
                if number != opened:
                    if file is not None:
                        file.close()
                    opened, file = number, quietly(self.files[number].open, "rb")
                if file is not None:
                    file.seek(start - 1)  # where the record's kind is
                    kind, payload = file.read(1), file.read(end - start)
                    yield place, self._joined(payload, number, file) if kind == bytes((CUT,)) else payload
        finally:
            if file is not None:
                file.close()

    def _joined(self, payload: bytes, number: int, file: IO[bytes]) -> bytes:
        """Return the request of a span whose texts stand elsewhere in its file; what is none, if unsound."""

        def text(which: int) -> bytes | None:
            place = self._texts[number].get(which)
            if place is None:
                return None
            file.seek(place[0])
            return file.read(place[1] - place[0])

        found = texts.joined(payload, text)
        return found[0] if found is not None else b"\xff"


def _heads(payload: bytes) -> list[tuple[bytes, int]] | None:
    """Return the key and the start of each span in a request, whoever encoded it."""
    request = parsed(payload)
    if request is None:
        return None
    return [(found.key, found.span.start_time_unix_nano) for found in spans_of(request)]
