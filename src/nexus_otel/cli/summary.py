"""The summary that a traced process prints on stderr when it ends."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

from rich.text import Text

from nexus_otel.cli.findings import findings_of
from nexus_otel.cli.report import print_findings
from nexus_otel.cli.runs import runs_of, short_ids
from nexus_otel.cli.terminal import console
from nexus_otel.cli.tree import print_header, print_tree

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

RUNS: Final = 3
ROWS: Final = 24


def render_summary(spans: list[StoredSpan], file: IO[str]) -> None:
    """Print the last runs among spans, and how to see more of them.

    Args:
        spans: The spans that the process made; nothing is printed without any.
        file: Where to print, usually stderr.
    """
    runs = runs_of(spans)
    if not runs:
        return
    to = console(file)
    short = short_ids(runs)
    if len(runs) > RUNS:
        to.print(Text(f"the last {RUNS} of {len(runs)} runs (all: nexus-otel traces)", style="dim"))
    for run in reversed(runs[:RUNS]):
        print_header(run, to, short[run.id])
        print_findings(run, findings_of(run), to)
        print_tree(run, to, limit=ROWS)
        to.print(Text(f"more: nexus-otel show {short[run.id]} --content", style="dim"))
        to.print()
