"""`nexus-otel traces`: the recorded runs, newest first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from nexus_otel.cli.filters import Wanted
from nexus_otel.cli.runs import Run, has_failed
from nexus_otel.cli.sources import opened
from nexus_otel.cli.terminal import console, moment, number, one_line, run_duration
from nexus_otel.cli.tree import STATUS_STYLE

if TYPE_CHECKING:
    from rich.console import Console

_HEAD: Final = ("time", "run", "agent", "status", "duration", "steps", "tools", "tokens in/out")
_RIGHT: Final = frozenset({"duration", "steps", "tools", "tokens in/out"})
_LEAVE: Final = ("tools", "steps", "tokens in/out", "time", "duration")
"""The columns that leave a narrow terminal, in this order."""
_AGENT: Final = (12, 40)


def traces(wanted: Wanted, limit: int, store: str | None = None, *, as_json: bool) -> None:
    """Print runs.

    Args:
        wanted: Which runs.
        limit: How many at most.
        store: Where they are; the local store when not given.
        as_json: As one JSON object.

    Raises:
        NothingFoundError: There is none.
    """
    source = opened(store, wanted.needles)
    found = list(islice(source.newest(wanted), limit + 1))
    more, found = len(found) > limit, found[:limit]
    if as_json:
        print(json.dumps({"schema": 1, "runs": [run.as_json() for run in found]}))
    if not found:
        raise source.nothing(wanted)
    if not as_json:
        _print_table(found, source.short(found), console())
        if more:
            console().print(Text(f"there are older ones: --limit {2 * limit}", style="dim"))


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
