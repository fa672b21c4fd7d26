"""A run as a tree on a terminal: what ran under what, how long, its tokens, and where it failed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from nexus_otel import semconv
from nexus_otel.cli.runs import Run, has_failed, is_model_call, is_tool_call
from nexus_otel.cli.terminal import count, duration, harmless, is_unicode, number, one_line, run_duration

if TYPE_CHECKING:
    from rich.console import Console

    from nexus_otel.export.read import StoredSpan

STATUS_STYLE: Final = {"ok": "green", "error": "bold red", "open": "yellow"}
_DURATION: Final = 9
_NAME: Final = (24, 60)
"""The narrowest useful and the widest column of names."""
_NAME_LEAST: Final = 12
"""What guides leave of that column."""
_NOTES: Final = 34
_NOTES_LEAST: Final = 7
_BAR: Final = (10, 40)
_ROOM_FOR_IDS: Final = 70
_ERROR_LINES: Final = 3
_LINES: Final = {
    "tee": "├─ ",
    "last": "└─ ",
    "down": "│  ",
    "none": "   ",
    "bar": "━",
    "dot": "╸",
    "cross": "✗",
}
_ASCII: Final = {
    "tee": "|- ",
    "last": "`- ",
    "down": "|  ",
    "none": "   ",
    "bar": "=",
    "dot": "-",
    "cross": "x",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One span of the tree.

    Attributes:
        span: The span.
        path: For each span above it and itself whether it is the last of its siblings; empty for a root.
        parent: Whether there are rows below it.
    """

    span: StoredSpan
    path: tuple[bool, ...]
    parent: bool


def rows(run: Run) -> list[Row]:
    """Return the spans of a run in the order of the tree."""
    found: list[Row] = []
    waiting = [(root, ()) for root in reversed(run.roots)]  # type: list[tuple[StoredSpan, tuple[bool, ...]]]
    while waiting:
        span, path = waiting.pop()
        children = run.tree.children(span)
        found.append(Row(span, path, bool(children)))
        last = len(children) - 1
        waiting.extend((child, (*path, place == last)) for place, child in reversed(list(enumerate(children))))
    return found


def print_header(run: Run, to: Console, name: str) -> None:
    """Print what a person wants to know of a run before its tree."""
    line = Text(no_wrap=False)
    line.append(f"run {name}  ")
    line.append(one_line(run.agent, 60) + "  ", style="bold")
    line.append("died" if run.died else run.status, style=STATUS_STYLE[run.status])
    line.append(f"  {run_duration(run)}")
    to.print(line)
    facts = [count(len(run.steps), "step"), count(len(run.tool_calls), "tool call")]
    facts.append(f"{number(run.input_tokens)} in / {number(run.output_tokens)} out tokens")
    failed = len(run.errors)
    to.print(Text(", ".join(facts) + (f", {count(failed, 'failed span')}" if failed else ""), style="dim"))


def print_tree(run: Run, to: Console, *, limit: int | None = None, ids: bool = False) -> None:
    """Print the tree of a run, with bars on a common axis of time where there is room.

    Args:
        run: The run.
        to: Where to.
        limit: The most rows; the middle is left out.
        ids: Whether each row begins with its span's id, shortened, where there is room.
    """
    every = rows(run)
    head, middle, tail = _parts(every, limit)
    columns = _Columns.of([*head, *tail], to, run, id_width(every) if ids else 0)
    for row in head:
        _print_row(row, to, columns)
    if middle:
        failed = sum(has_failed(row.span) for row in middle)
        to.print(
            Text(
                f"... {count(len(middle), 'more span')}{f', {failed} failed' if failed else ''}",
                style="dim",
            )
        )
    for row in tail:
        _print_row(row, to, columns)


def id_width(every: Sequence[Row]) -> int:
    """Return how many characters of a span's id tell the rows apart, at least 6."""
    width = 6
    while width < 16 and len({row.span.span_id[:width] for row in every}) < len(every):  # noqa: PLR2004
        width += 1
    return width


def _parts(every: list[Row], limit: int | None) -> tuple[list[Row], list[Row], list[Row]]:
    if limit is None or len(every) <= limit:
        return every, [], []
    tail = limit // 3
    return every[: limit - tail], every[limit - tail : len(every) - tail], every[len(every) - tail :]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths in cells, and the axis of time in nanoseconds."""

    id: int
    name: int
    notes: int
    bar: int
    start_ns: int
    end_ns: int
    signs: dict[str, str]

    @classmethod
    def of(cls, shown: Sequence[Row], to: Console, run: Run, id_width: int) -> _Columns:
        id_width = id_width if to.width >= _ROOM_FOR_IDS else 0
        room = to.width - (id_width + 2 if id_width else 0)
        name = max(3 * len(row.path) + cell_len(one_line(row.span.name)) for row in shown)
        name = min(max(name, _NAME[0]), _NAME[1], max(8, room - _DURATION - 1))
        room -= name + _DURATION + 1
        notes = min(max(cell_len(notes_of(row.span)) for row in shown), _NOTES, max(0, room - 2))
        notes = notes if notes >= _NOTES_LEAST else 0
        room -= notes + 2 if notes else 0
        bar = min(room - 2, _BAR[1]) if room - 2 >= _BAR[0] else 0
        start_ns = min([run.start_ns, *(row.span.start_ns for row in shown)])
        end_ns = max([run.end_ns, *(row.span.end_ns or row.span.start_ns for row in shown)])
        signs = _LINES if is_unicode(to) else _ASCII
        return cls(id_width, name, notes, bar, start_ns, max(end_ns, start_ns + 1), signs)

    def bar_of(self, span: StoredSpan) -> Text:
        """Return the bar of a span at its place on the axis."""
        end_ns = self.end_ns if span.end_ns is None else span.end_ns
        scale = self.bar / (self.end_ns - self.start_ns)
        first = min(int((span.start_ns - self.start_ns) * scale), self.bar - 1)
        last = round((end_ns - self.start_ns) * scale)
        bar = self.signs["bar"] * (last - first) or self.signs["dot"]
        return Text(" " * first + bar, style=_style(span), no_wrap=True)

    def guide(self, row: Row) -> str:
        """Return the lines in front of a row's name."""
        if not row.path:
            return ""
        return self._within(row.path[:-1]) + self.signs["last" if row.path[-1] else "tee"]

    def guide_below(self, row: Row) -> str:
        """Return the lines in front of what belongs to a row but follows its line."""
        return self._within(row.path) + self.signs["down" if row.parent else "none"]

    def _within(self, path: tuple[bool, ...]) -> str:
        """Return the lines of the levels above; of a deep one only those nearest to it."""
        levels = max(1, (self.name - _NAME_LEAST) // 3)
        shown = path[-levels:]
        mark = ".. " if len(shown) < len(path) else ""
        return mark + "".join(self.signs["none" if last else "down"] for last in shown)


def _print_row(row: Row, to: Console, columns: _Columns) -> None:
    span = row.span
    name = Text.assemble((columns.guide(row), "dim"), (one_line(span.name), _style(span)))
    line = Text(f"{span.span_id[: columns.id]}  " if columns.id else "", style="dim")
    line = Text.assemble(line, _cell(name, columns.name), " ", _span_duration(span).rjust(_DURATION))
    if columns.notes:
        line = Text.assemble(line, "  ", _cell(Text(notes_of(span), style="dim"), columns.notes))
    if columns.bar:
        line = Text.assemble(line, "  ", columns.bar_of(span))
    line.rstrip()
    to.print(line, no_wrap=True, crop=True, overflow="crop")
    _print_error(row, to, columns)


def _print_error(row: Row, to: Console, columns: _Columns) -> None:
    text = error_of(row.span)
    if text is None or row.span.died:
        return
    guide = " " * (columns.id + 2 if columns.id else 0) + columns.guide_below(row)
    cross = f"{columns.signs['cross']} "
    width = max(20, to.width - cell_len(guide) - 3)
    for place, part in enumerate(textwrap.wrap(text, width, max_lines=_ERROR_LINES, placeholder=" ...")):
        line = Text.assemble((guide, "dim"), ((cross if place == 0 else "  ") + part, "red"))
        to.print(line, no_wrap=True, overflow="crop")


def _cell(text: Text, width: int) -> Text:
    text = text.copy()
    text.truncate(width, overflow="ellipsis", pad=True)
    return text


def _style(span: StoredSpan) -> str:
    if has_failed(span) or span.died:
        return "red"
    if is_model_call(span):
        return "cyan"
    return "green" if is_tool_call(span) else "default"


def _span_duration(span: StoredSpan) -> str:
    if span.end_ns is None:
        return "open"
    return duration(max(0, span.end_ns - span.start_ns) / 1e9)


def notes_of(span: StoredSpan) -> str:
    """Return what stands beside a span: its tokens, retries, and how far it can be trusted."""
    own = span.attributes
    found = ["process ended"] if span.died else []
    if is_model_call(span) and (semconv.USAGE_INPUT in own or semconv.USAGE_OUTPUT in own):
        found.append(f"{number(own.get(semconv.USAGE_INPUT))} in / {number(own.get(semconv.USAGE_OUTPUT))} out")
    if own.get(semconv.DERIVED) is True:
        found.append("derived")
    reasons = own.get(semconv.RESPONSE_FINISH_REASONS)
    if isinstance(reasons, (list, tuple)):
        found += [one_line(reason, 20) for reason in reasons if reason not in {"stop", "tool_call"}]
    if retries := sum(event.name == semconv.RETRY_EVENT for event in span.events):
        found.append("1 retry" if retries == 1 else f"{retries} retries")
    if outcome := own.get(semconv.STREAM_OUTCOME):
        found.append(f"stream {one_line(outcome, 20)}")
    return ", ".join(found)


def error_of(span: StoredSpan) -> str | None:
    """Return how a span failed, in one text; None where it did not."""
    if not has_failed(span):
        return None
    kind = span.attributes.get(semconv.ERROR_TYPE)
    if kind is None and semconv.TOOL_ERROR_CLASS in span.attributes:
        kind = f"tool failed: {span.attributes[semconv.TOOL_ERROR_CLASS]}"
    message = span.status_message or _exception_message(span)
    return ": ".join(" ".join(harmless(part).split()) for part in (kind, message) if part) or "error"


def _exception_message(span: StoredSpan) -> str:
    for event in span.events:
        if event.name == semconv.EXCEPTION_EVENT and event.attributes.get(semconv.EXCEPTION_MESSAGE):
            return str(event.attributes[semconv.EXCEPTION_MESSAGE])
    return ""
