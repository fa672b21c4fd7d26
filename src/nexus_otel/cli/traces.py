"""`nexus-otel traces`: the recorded runs, newest first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from nexus_otel.cli.runs import NothingFoundError, Run, has_failed, runs_of, short_ids, since
from nexus_otel.cli.store import load, nothing_yet
from nexus_otel.cli.terminal import console, count, moment, number, one_line, run_duration
from nexus_otel.cli.tree import STATUS_STYLE

if TYPE_CHECKING:
    from rich.console import Console

_HEAD: Final = ("time", "run", "agent", "status", "duration", "steps", "tools", "tokens in/out")
_RIGHT: Final = frozenset({"duration", "steps", "tools", "tokens in/out"})
_LEAVE: Final = ("tools", "steps", "tokens in/out", "time", "duration")
"""The columns that leave a narrow terminal, in this order."""
_AGENT: Final = (12, 40)


def traces(limit: int, status: str | None, after: str | None, *, as_json: bool) -> None:
    """Print the runs of the local store.

    Args:
        limit: How many at most.
        status: Only runs that ended so: ok, error, open.
        after: Only runs that began after this; see `runs.since`.
        as_json: As one JSON object.

    Raises:
        NothingFoundError: There is none.
    """
    earliest = since(after, datetime.now().astimezone()) if after else 0
    every = runs_of(load().spans)
    found = [run for run in every if run.start_ns >= earliest and status in {None, run.status}]
    if as_json:
        print(json.dumps({"schema": 1, "runs": [run.as_json() for run in found[:limit]]}))
    if not found:
        raise _none_of(every, status, after)
    if not as_json:
        _print_table(found[:limit], short_ids(every), console())
        if len(found) > limit:
            console().print(Text(f"{len(found) - limit:,} older: --limit {len(found)}", style="dim"))


def _none_of(every: Sequence[Run], status: str | None, after: str | None) -> NothingFoundError:
    if not every:
        return nothing_yet()
    asked = [f"--status {status}"] * bool(status) + [f"--since {after}"] * bool(after)
    return NothingFoundError(f"none of {count(len(every), 'run')} matches {' '.join(asked)}")


def _print_table(runs: Sequence[Run], short: dict[str, str], to: Console) -> None:
    rows = [_row(run, short[run.id]) for run in runs]
    widths = {name: max(len(name), *(cell_len(row[name].plain) for row in rows)) for name in _HEAD}
    widths["agent"] = min(widths["agent"], _AGENT[1])
    for name in ("", *_LEAVE):
        widths.pop(name, None)
        over = sum(widths.values()) + 2 * (len(widths) - 1) - to.width
        if widths["agent"] - max(0, over) >= min(_AGENT[0], widths["agent"]):
            break
    widths["agent"] = max(4, widths["agent"] - max(0, over))
    head = {name: Text(name, style="dim") for name in widths}
    for row in (head, *rows):
        line = Text("  ").join(_cell(row[name], name, width) for name, width in widths.items())
        line.rstrip()
        to.print(line, no_wrap=True, overflow="crop")


def _cell(text: Text, name: str, width: int) -> Text:
    text = text.copy()
    text.truncate(width, overflow="ellipsis")
    text.align("right" if name in _RIGHT else "left", width)
    return text


def _row(run: Run, name: str) -> dict[str, Text]:
    failed = sum(has_failed(span) for span in run.tool_calls)
    tools = Text(number(len(run.tool_calls)))
    if failed:
        tools += Text(f" ({failed} failed)", style="red")
    return {
        "time": Text(moment(run.start_ns), style="dim"),
        "run": Text(name),
        "agent": Text(one_line(run.agent, _AGENT[1])),
        "status": Text("died" if run.died else run.status, style=STATUS_STYLE[run.status]),
        "duration": Text(run_duration(run)),
        "steps": Text(number(len(run.steps))),
        "tools": tools,
        "tokens in/out": Text(f"{number(run.input_tokens)} / {number(run.output_tokens)}"),
    }
