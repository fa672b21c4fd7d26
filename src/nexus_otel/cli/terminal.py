"""How things look on a terminal: the console, times, numbers, and texts from outside made harmless."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Final

from rich.console import Console

from nexus_otel._environ import variables

if TYPE_CHECKING:
    from nexus_otel.cli.runs import Run

_PIPED_WIDTH: Final = 120
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0


class _Console(Console):
    """A console whose reader may leave."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(file: IO[str] | None = None) -> Console:
    """Return a console on `file`, by default stdout; wide and without colour where it is no terminal."""
    file = sys.stdout if file is None else file
    terminal = file.isatty()
    width = None if terminal or variables().get("COLUMNS") else _PIPED_WIDTH
    return _Console(
        file=file,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
        force_terminal=terminal,
        no_color=True if variables().get("NO_COLOR") else None,
    )


def is_unicode(to: Console) -> bool:
    """Whether the console can show lines and blocks."""
    return to.encoding.lower().startswith("utf")


def harmless(text: object) -> str:
    """Return a text from outside with its control characters written out, for a terminal obeys them."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(text).replace("\r\n", "\n"))


def one_line(text: object, longest: int = 200) -> str:
    """Return a text from outside on one line."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def duration(seconds: float) -> str:
    """Return a length of time in words of at most 9 characters.

    >>> [duration(s) for s in (0.0000004, 0.0123, 1.26, 75, 3700)]
    ['0 ms', '12 ms', '1.3 s', '1 m 15 s', '1 h 01 m']
    """
    if seconds < 0.9995:  # noqa: PLR2004 - what would be rounded to 1000 ms is a second
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    if round(seconds) < _HOUR:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} m {rest:02d} s"
    hours, rest = divmod(round(seconds / _MINUTE), 60)
    return f"{hours} h {rest:02d} m"


def run_duration(run: Run) -> str:
    """Return how long a run took; with a plus while it is open."""
    return duration(run.duration_s) + (" +" if run.status == "open" else "")


def moment(time_ns: int) -> str:
    """Return a moment in local time."""
    return datetime.fromtimestamp(time_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(value: Any) -> str:
    """Return a count; a dash where it is not known."""
    return f"{value:,}" if isinstance(value, int) else "-"


def count(value: int, thing: str) -> str:
    """Return a count with its thing.

    >>> count(1, "step"), count(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{value:,} {thing}{'' if value == 1 else 's'}"


def size(value: int) -> str:
    """Return a number of bytes.

    >>> size(0), size(1200), size(1_234_567)
    ('0.0 kB', '1.2 kB', '1.2 MB')
    """
    return f"{value / 1e3:.1f} kB" if value < 999_950 else f"{value / 1e6:,.1f} MB"  # noqa: PLR2004 - what is no 1000 kB
