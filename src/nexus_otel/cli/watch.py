"""`nexus-otel watch`: the agents that are running, what each is at, and what is found in them as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nexus_otel import config
from nexus_otel.cli.findings import findings_of, told
from nexus_otel.cli.runs import Run, runs_of, short_ids
from nexus_otel.cli.terminal import console, duration, number, one_line

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

_RECENT_S: Final = 60.0
"""Runs that ended within this are shown too: one that just stopped is what people look for."""
_MOST_RUNS: Final = 40


def watch(interval_s: float, *, once: bool, as_json: bool) -> None:
    """Show the running agents, again and again on a terminal.

    Args:
        interval_s: Seconds between two looks.
        once: Look once and end.
        as_json: One JSON object a look.
    """
    to = console()
    if once or as_json or not to.is_terminal:
        _look(to, as_json=as_json)
        while not once and as_json:
            time.sleep(interval_s)
            _look(to, as_json=True)
        return
    with Live(console=to, auto_refresh=False, screen=False) as live:
        while True:
            live.update(_shown(running()), refresh=True)
            time.sleep(interval_s)


def _look(to: Any, *, as_json: bool) -> None:
    runs = running()
    if as_json:
        print(json.dumps({"schema": 1, "runs": [_json(run) for run in runs]}, default=str), flush=True)
    else:
        to.print(_shown(runs))


def running() -> list[Run]:
    """Return the runs that go on, or ended just now, the newest first."""
    from nexus_otel.export.read import stored
    from nexus_otel.export.scan import Scan

    scan = Scan(None, files=_recent_files())
    now_ns = time.time_ns()
    runs = runs_of(stored(scan))
    return [run for run in runs if run.status == "open" or now_ns - run.end_ns < _RECENT_S * 1e9][:_MOST_RUNS]


def _recent_files() -> list[Path]:
    """Return the segments of processes that run, or wrote within a minute."""
    from nexus_otel.export.places import store_folders
    from nexus_otel.export.segment import ForeignFileError, is_orphan, read_header, segments

    found, now_s = [], time.time()
    for folder in store_folders(config.home()):
        for path in segments(folder):
            try:
                if now_s - path.stat().st_mtime < _RECENT_S:
                    found.append(path)
                    continue
                header = read_header(path)
                if header is not None and not is_orphan(path, header.owner):
                    found.append(path)
            except (ForeignFileError, OSError):
                continue
    return found


# -- shown -------------------------------------------------------------------------------------------------------------


def _shown(runs: Sequence[Run]) -> Group | Text:
    if not runs:
        return Text(f"no agent is running ({config.home()})", style="dim")
    names = short_ids(runs)
    table = Table(box=None, pad_edge=False)
    for head, justify in (("run", "left"), ("agent", "left"), ("state", "left"), ("for", "right"), ("steps", "right"),
                          ("tokens", "right"), ("at", "left"), ("since", "right")):  # fmt: skip
        table.add_column(head, justify=justify)  # type: ignore[arg-type]
    lines: list[Text] = []
    for run in runs:
        at = innermost(run)
        tokens = number((run.input_tokens or 0) + (run.output_tokens or 0))
        open_ = [one_line(at.name, 36), duration(_age_s(at))] if at is not None else ["-", "-"]
        state = "died" if run.died else run.status
        took = _age_s(run.root) if run.status == "open" else run.duration_s
        table.add_row(
            names[run.id], one_line(run.agent, 24), state, duration(took), str(len(run.steps)), tokens, *open_,
            style="bold red" if run.died else None,
        )  # fmt: skip
        lines += [
            Text(f"  {names[run.id]}  {finding.mode.upper()}  {one_line(finding.title, 100)}", style="yellow")
            for finding in told(findings_of(run))
        ]
    return Group(table, *lines)


def innermost(run: Run) -> StoredSpan | None:
    """Return the open span of a run that began last: what it is at, or was when its process ended."""
    return max((span for span in run.spans if span.open or span.died), key=lambda span: span.start_ns, default=None)


def _age_s(span: StoredSpan) -> float:
    return max(0, time.time_ns() - span.start_ns) / 1e9


def _json(run: Run) -> dict[str, Any]:
    at = innermost(run)
    return {
        **run.as_json(),
        "at": {"span_id": at.span_id, "name": at.name, "age_s": _age_s(at)} if at is not None else None,
        "findings": [finding.as_json() for finding in told(findings_of(run))],
    }
