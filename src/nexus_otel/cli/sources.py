"""Where the commands find runs: the local store, a folder of another, a file, or a ClickHouse."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nexus_otel.cli.filters import Wanted
from nexus_otel.cli.runs import NothingFoundError, Run, matching, runs_of, select, short_ids
from nexus_otel.cli.store import Held, load, newest_first, nothing_yet, say

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

STDIN = "-"


class Source(Protocol):
    """Runs, wherever they are kept."""

    def newest(self, wanted: Wanted) -> Iterator[Run]:
        """Yield the runs that are wanted, newest first; read is only as much as it takes."""

    def each(self, wanted: Wanted) -> Iterator[Run]:
        """Yield the same trace by trace, which takes no more memory than the largest."""

    def named(self, wanted: str) -> list[Run]:
        """Return the runs that the user named, at least one: the newest for `last`, else those whose id begins so.

        Raises:
            NothingFoundError: There is no such run.
            AmbiguousError: It is too short.
        """

    def with_span(self, beginning: str) -> list[StoredSpan]:
        """Return the spans of the traces with a span whose id begins so, in lower-case hex."""

    def short(self, runs: Sequence[Run]) -> dict[str, str]:
        """Return for each run's id a short form that means it alone."""

    def nothing(self, wanted: Wanted) -> NothingFoundError:
        """Return the error for when no run is wanted."""


class Scanned:
    """What stands in files, of which it is known where each trace is."""

    def __init__(self, held: Held, empty: NothingFoundError) -> None:
        self._held = held
        self._empty = empty

    @property
    def trace_ids(self) -> Collection[bytes]:
        """The traces."""
        return self._held.trace_ids

    def newest(self, wanted: Wanted) -> Iterator[Run]:
        """Yield the runs that are wanted, newest first; decoded is only as much as it takes."""
        for run in newest_first(self._held, self._possible(wanted)):
            if run.start_ns < wanted.earliest_ns:
                return
            if wanted.takes(run):
                yield run

    def each(self, wanted: Wanted) -> Iterator[Run]:
        """Yield the same, those of the traces that were last heard of first."""
        newest = self._held.newest
        for trace in sorted(self._possible(wanted), key=lambda trace: newest[trace], reverse=True):
            yield from filter(wanted.takes, runs_of(self._held.read([trace])))

    def _possible(self, wanted: Wanted) -> list[bytes]:
        held = self._held
        found = [trace for trace in held.trace_ids if held.newest[trace] >= wanted.earliest_ns]
        return [trace for trace in found if trace in held.marked] if wanted.needles else found

    def named(self, wanted: str) -> list[Run]:
        """Return the runs that the user named."""
        if not self.trace_ids:
            raise self._empty
        if wanted == "last":
            return list(islice(newest_first(self._held), 1))
        beginning = wanted.lower().partition(":")[0]
        traces = [trace for trace in self.trace_ids if trace.hex().startswith(beginning)]
        return matching(list(newest_first(self._held, traces)), wanted)

    def with_span(self, beginning: str) -> list[StoredSpan]:
        """Return the spans of the traces with a span whose id begins so."""
        if not self.trace_ids:
            raise self._empty
        return self._held.read(self._held.traces_with_span(beginning))

    def short(self, runs: Sequence[Run]) -> dict[str, str]:
        """Return the shortest forms of at least 8 characters."""
        return short_ids(runs, self.trace_ids)

    def nothing(self, wanted: Wanted) -> NothingFoundError:
        """Return the error for when no run is wanted."""
        if not self.trace_ids:
            return self._empty
        traces = len(self.trace_ids)
        return NothingFoundError(f"no run in {traces:,} trace{'s' if traces != 1 else ''} matches {wanted}")


def opened(store: str | None, needles: Sequence[bytes] = ()) -> Source:
    """Return where the runs are.

    Args:
        store: A file, `-` for stdin, a folder, or the address of a ClickHouse; the local store when not given.
        needles: Texts of which one stands in every trace that is wanted.

    Raises:
        UnreadableFileError: It is a file that holds no traces, or there is no such file.
        UnreachableError: It is a ClickHouse that cannot be asked.
    """
    if store is None:
        return Scanned(load(needles), nothing_yet())
    if "://" in store:
        from nexus_otel.cli.clickhouse import Table

        return Table.at(store)
    if Path(store).is_dir():
        return Scanned(load(needles, Path(store)), NothingFoundError(f"no run is recorded in {store}"))
    return Scanned(_of_file(store), NothingFoundError(f"no run in {store}"))


def _of_file(name: str) -> Held:
    from nexus_otel.export.files import is_segment, spans_in, spans_of_lines
    from nexus_otel.export.scan import Scan
    from nexus_otel.export.spill import Spilled

    def left_out(what: str) -> None:
        say(f"left out: {what}")

    if name == STDIN:
        return Spilled(spans_of_lines(sys.stdin.buffer, "stdin", left_out))
    if is_segment(Path(name)):
        scan = Scan(None, files=[Path(name)])
        if scan.trace_ids and scan.skipped:
            left_out(f"{scan.skipped} damaged {'record' if scan.skipped == 1 else 'records'} in {name}")
        if scan.trace_ids:
            return scan
    return Spilled(spans_in(Path(name), left_out))


def is_file(name: str) -> bool:
    """Whether a word of the command line means a file, or stdin."""
    with suppress(OSError):  # too long a name, for one
        return name == STDIN or Path(name).is_file()
    return False


def one_run(source: Source, wanted: str) -> tuple[Run, str]:
    """Return the run that the user named, and the short form of its id.

    Raises:
        NothingFoundError: There is no such run.
        AmbiguousError: There are several, or it is too short.
    """
    run = select(source.named(wanted), wanted)
    return run, source.short([run])[run.id]
