"""The local store, as the commands read it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nexus_otel import config
from nexus_otel.cli.runs import NothingFoundError, Run, runs_of, select
from nexus_otel.config import NexusError

if TYPE_CHECKING:
    from nexus_otel.export.read import Store


class UnreadableError(NexusError):
    """The store holds nothing but what cannot be read."""


def say(line: str) -> None:
    """Print one line on stderr."""
    print(f"nexus-otel: {line}", file=sys.stderr)


def load() -> Store:
    """Return what the local store holds; says so where a part of it cannot be read.

    Raises:
        UnreadableError: Nothing of it can be read.
    """
    from nexus_otel.export.read import read_store

    store = read_store(config.home())
    problems = list(store.foreign)
    if store.skipped:
        problems.append(f"{store.skipped} damaged records in {config.home()}")
    if problems and not store.spans:
        raise UnreadableError("cannot read " + ", ".join(problems))
    for problem in problems:
        say(f"left out: {problem}")
    return store


def nothing_yet() -> NothingFoundError:
    """Return the error for an empty store."""
    return NothingFoundError(f"no run is recorded in {config.home()}; try: nexus-instrument python agent.py")


def all_runs() -> list[Run]:
    """Return the runs of the local store, newest first.

    Raises:
        NothingFoundError: There is none.
    """
    runs = runs_of(load().spans)
    if not runs:
        raise nothing_yet()
    return runs


def one_run(wanted: str) -> tuple[Run, list[Run]]:
    """Return the run that the user named, and all runs."""
    runs = all_runs()
    return select(runs, wanted), runs
