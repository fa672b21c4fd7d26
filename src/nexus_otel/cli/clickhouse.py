"""Runs in a ClickHouse: `--store clickhouse://user:password@host:port/database?table=otel_traces`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from nexus_otel import semconv
from nexus_otel.cli.filters import NAMED, Wanted
from nexus_otel.cli.runs import NothingFoundError, Run, matching, runs_of, short_ids
from nexus_otel.export.clickhouse import Address, Conditions, Traces, connected

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

_PAGE: Final = 500
_TOGETHER: Final = 10
"""How many traces are listed and fetched at a time."""


class Table:
    """A table of the collector's exporter."""

    def __init__(self, traces: Traces, address: Address) -> None:
        self._traces = traces
        self._address = address

    @classmethod
    def at(cls, text: str) -> Table:
        """Return the table at an address.

        Raises:
            UnreachableError: It is no address, or nobody answers there.
        """
        address = Address.of(text)
        return cls(Traces(connected(address), address.quoted), address)

    def newest(self, wanted: Wanted) -> Iterator[Run]:
        """Yield the runs that are wanted, newest first; fetched is only as much as it takes."""
        waiting: list[Run] = []
        for newest, spans in self._fetched(wanted):
            # no run begins after the last span of its trace
            while waiting and waiting[-1].start_ns > newest:
                yield waiting.pop()
            waiting += filter(wanted.takes, runs_of(spans))
            waiting.sort(key=lambda run: (run.start_ns, run.id))
        yield from reversed(waiting)

    def each(self, wanted: Wanted) -> Iterator[Run]:
        """Yield the same, those of the traces that were last heard of first."""
        for _newest, spans in self._fetched(wanted):
            yield from filter(wanted.takes, runs_of(spans))

    def named(self, wanted: str) -> list[Run]:
        """Return the runs that the user named."""
        if wanted == "last":
            return list(islice(self.newest(Wanted()), 1))
        beginning = wanted.lower().partition(":")[0]
        runs = runs_of(self._traces.read(self._traces.beginning(beginning))) if len(beginning) > 3 else []  # noqa: PLR2004 - said by matching
        return matching(runs, wanted)

    def with_span(self, beginning: str) -> list[StoredSpan]:
        """Return the spans of the traces with a span whose id begins so."""
        return self._traces.read(self._traces.with_span(beginning))

    def short(self, runs: Sequence[Run]) -> dict[str, str]:
        """Return forms of at least 8 characters that tell these runs apart."""
        return short_ids(runs, {bytes.fromhex(run.trace_id) for run in runs})

    def nothing(self, wanted: Wanted) -> NothingFoundError:
        """Return the error for when no run is wanted."""
        options = str(wanted)
        return NothingFoundError(f"no run in {self._address}{f' matches {options}' if options else ''}")

    def _fetched(self, wanted: Wanted) -> Iterator[tuple[int, list[StoredSpan]]]:
        """Yield for each trace that may hold a wanted run the latest start of a span, and its spans."""
        if wanted.status == "open":  # spans are sent when they have ended
            return
        listed = self._traces.newest(_conditions(wanted, self._address.quoted), _PAGE)
        size = 1  # one run is often all that is asked for
        while some := dict(islice(listed, size)):
            size = _TOGETHER
            spans: dict[str, list[StoredSpan]] = {trace_id: [] for trace_id in some}
            for span in self._traces.read(list(some)):
                spans[span.trace_id].append(span)
            for trace_id, found in spans.items():
                yield some[trace_id], found


def _conditions(wanted: Wanted, table: str) -> Conditions:
    """Return what the traces of wanted runs have in common, which a run of them need not have."""
    made = Conditions(table)
    made.since(wanted.earliest_ns)
    if wanted.status == "error":
        made.failed()
    for option, value in wanted.named:
        if option == "git":
            made.begin(NAMED[option], [value])
        else:
            made.have(NAMED[option], value, _beside(NAMED[option]))
    for name, value in wanted.where:
        made.have([name], value)
    names, beginnings = wanted.hint
    if beginnings:
        made.begin(names, beginnings, _beside(names))
    return made


def _beside(names: Sequence[str]) -> Sequence[str]:
    """Return the columns that name an agent where no attribute does."""
    return ("ServiceName", "SpanName") if semconv.AGENT_NAME in names else ()
