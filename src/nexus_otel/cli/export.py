"""`nexus-otel export`: runs as OTLP JSON lines on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nexus_otel import config
from nexus_otel.cli.store import full, nothing_yet, runs_named


def export(wanted: Sequence[str]) -> None:
    """Print OTLP JSON requests, one a line: whole traces, with the content that was recorded.

    Args:
        wanted: The runs (ids, beginnings of one, `last`); the whole store without any.

    Raises:
        NothingFoundError: There is none.
    """
    from nexus_otel.export.read import requests_json

    lines = 0
    for line in requests_json(config.home(), _traces(wanted) if wanted else None):
        sys.stdout.write(line.rstrip("\n") + "\n")
        lines += 1
    if not lines:
        raise nothing_yet()


def _traces(wanted: Sequence[str]) -> set[str]:
    scan = full()
    return {run.trace_id for name in wanted for run in runs_named(scan, name)}
