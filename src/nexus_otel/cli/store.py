"""The local store, as the commands read it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nexus_otel import config
from nexus_otel.cli.runs import NothingFoundError, Run, matching, runs_of
from nexus_otel.config import NexusError

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan
    from nexus_otel.export.scan import Scan


class UnreadableError(NexusError):
    """The store holds nothing but what cannot be read."""


def say(line: str) -> None:
    """Print one line on stderr."""
    print(f"nexus-otel: {line}", file=sys.stderr)


class Held(Protocol):
    """Spans that can be read trace by trace.

    Attributes:
        newest: For each trace the latest start of a span of it.
        marked: The traces in which something that was searched for may stand.
    """

    newest: dict[bytes, int]
    marked: set[bytes]

    @property
    def trace_ids(self) -> Collection[bytes]:
        """The traces."""

    def read(self, trace_ids: Iterable[bytes]) -> list[StoredSpan]:
        """Return the spans of the traces, by start."""

    def traces_with_span(self, beginning: str) -> set[bytes]:
        """Return the traces with a span whose id begins so, in lower-case hex."""


def load(needles: Sequence[bytes] = (), home: Path | None = None) -> Scan:
    """Return where everything stands in a store; says so where a part of it cannot be read.

    Args:
        needles: Texts; the traces in which one of them stands are marked.
        home: Its folder; the local store's when not given.

    Raises:
        UnreadableError: Nothing of it can be read.
    """
    from nexus_otel.export.scan import Scan

    home = home or config.home()
    scan = Scan(home, needles=needles)
    problems = list(scan.foreign)
    if scan.skipped:
        problems.append(f"{scan.skipped} damaged records in {home}")
    if problems and not scan.trace_ids:
        raise UnreadableError("cannot read " + ", ".join(problems))
    for problem in problems:
        say(f"left out: {problem}")
    return scan


def full() -> Scan:
    """Return where everything stands in the local store.

    Raises:
        NothingFoundError: There is nothing in it.
    """
    scan = load()
    if not scan.trace_ids:
        raise nothing_yet()
    return scan


def nothing_yet() -> NothingFoundError:
    """Return the error for an empty store."""
    return NothingFoundError(
        f"no run is recorded in {config.home()}; try: nexus-instrument python agent.py "
        "(runs that an endpoint took are kept here with NEXUS_EXPORT=local,otlp only)"
    )


def newest_first(held: Held, trace_ids: Iterable[bytes] | None = None) -> Iterator[Run]:
    """Yield runs, newest first; decoded is only as much as it takes.

    Args:
        held: The spans.
        trace_ids: The traces to look at; all when not given.
    """
    every = held.trace_ids if trace_ids is None else trace_ids
    traces = sorted(every, key=lambda trace: held.newest.get(trace, 0))
    waiting: list[Run] = []
    while traces or waiting:
        # no run begins after the last span of its trace
        while waiting and not (traces and waiting[-1].start_ns <= held.newest.get(traces[-1], 0)):
            yield waiting.pop()
        if traces:
            waiting += runs_of(held.read([traces.pop()]))
            waiting.sort(key=lambda run: (run.start_ns, run.id))


def runs_named(scan: Scan, wanted: str) -> list[Run]:
    """Return the runs that the user named: the newest for `last`, else those whose id begins so.

    Raises:
        NothingFoundError: There is no such run.
        AmbiguousError: It is too short.
    """
    if wanted == "last":
        return list(islice(newest_first(scan), 1))
    beginning = wanted.lower().partition(":")[0]
    traces = [trace for trace in scan.trace_ids if trace.hex().startswith(beginning)]
    return matching(list(newest_first(scan, traces)), wanted)
