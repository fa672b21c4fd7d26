"""The local store, as the commands read it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from nexus_otel import config
from nexus_otel.cli.runs import NothingFoundError, Run, matching, runs_of, select, short_ids
from nexus_otel.config import NexusError

if TYPE_CHECKING:
    from nexus_otel.export.scan import Scan


class UnreadableError(NexusError):
    """The store holds nothing but what cannot be read."""


def say(line: str) -> None:
    """Print one line on stderr."""
    print(f"nexus-otel: {line}", file=sys.stderr)


def load(needles: Sequence[bytes] = ()) -> Scan:
    """Return where everything stands in the local store; says so where a part of it cannot be read.

    Args:
        needles: Texts; the traces in which one of them stands are marked.

    Raises:
        UnreadableError: Nothing of it can be read.
    """
    from nexus_otel.export.scan import Scan

    scan = Scan(config.home(), needles=needles)
    problems = list(scan.foreign)
    if scan.skipped:
        problems.append(f"{scan.skipped} damaged records in {config.home()}")
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
    return NothingFoundError(f"no run is recorded in {config.home()}; try: nexus-instrument python agent.py")


def newest_first(scan: Scan, trace_ids: Iterable[bytes] | None = None) -> Iterator[Run]:
    """Yield runs, newest first; decoded is only as much as it takes.

    Args:
        scan: The store.
        trace_ids: The traces to look at; all when not given.
    """
    from nexus_otel.export.read import stored

    every = scan.trace_ids if trace_ids is None else trace_ids
    traces = sorted(every, key=lambda trace: scan.newest.get(trace, 0))
    waiting: list[Run] = []
    while traces or waiting:
        # no run begins after the last span of its trace
        while waiting and not (traces and waiting[-1].start_ns <= scan.newest.get(traces[-1], 0)):
            yield waiting.pop()
        if traces:
            waiting += runs_of(stored(scan, [traces.pop()]))
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


def one_run(wanted: str) -> tuple[Run, str]:
    """Return the run that the user named, and the shortest form of its id.

    Raises:
        NothingFoundError: There is no such run.
        AmbiguousError: There are several, or it is too short.
    """
    scan = full()
    run = select(runs_named(scan, wanted), wanted)
    return run, short_ids([run], scan.trace_ids)[run.id]
