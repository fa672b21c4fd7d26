"""`nexus-otel diagnose`: what went wrong in a run, or in the traces of a file."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from nexus_otel.cli.findings import findings_of, told
from nexus_otel.cli.report import print_report
from nexus_otel.cli.runs import AmbiguousError, NothingFoundError, Run, runs_of, short_ids
from nexus_otel.cli.store import one_run, say
from nexus_otel.cli.terminal import console, count, moment, one_line
from nexus_otel.detect.model import MODES, Finding

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

FOUND: int = 3
"""The exit code for a finding of a mode in `--fail-on`."""
_MOST_RUNS = 20


def diagnose(wanted: str, fail_on: Sequence[str], *, as_json: bool) -> int:
    """Print what is found; returns the exit code.

    Args:
        wanted: A run of the store, `last`, a file, or `-` for OTLP JSON lines on stdin.
        fail_on: The modes that make the exit code 3; `any` for each of them.
        as_json: One finding a line.

    Raises:
        NothingFoundError: There is no such run, and no such file.
        AmbiguousError: A mode in `fail_on` does not exist.
    """
    modes = _modes(fail_on)
    runs, names = _runs(wanted)
    found = [(run, findings_of(run)) for run in runs]
    if as_json:
        for _run, findings in found:
            for finding in findings:
                print(json.dumps({"schema": 1, **finding.as_json()}, default=str))
    elif len(found) == 1:
        print_report(runs[0], names[runs[0].id], found[0][1], console())
    else:
        _print_several(found, names)
    hit = any(one.mode in modes for _run, findings in found for one in told(findings))
    return FOUND if hit else 0


def _modes(given: Sequence[str]) -> frozenset[str]:
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    for name in names:
        if name not in {*MODES, "any"}:
            raise AmbiguousError(f"--fail-on {name!r}: expected any or {', '.join(MODES)}")
    return frozenset(MODES if "any" in names else names)


def _runs(wanted: str) -> tuple[list[Run], dict[str, str]]:
    """Return the runs that are meant, newest first, and the short form of each one's id."""
    if wanted == "-" or _is_file(wanted):
        runs = runs_of(_spans(wanted))
        return runs, short_ids(runs)
    try:
        run, name = one_run(wanted)
    except NothingFoundError:
        if "/" in wanted or "." in wanted:
            raise NothingFoundError(f"no run and no file {wanted}") from None
        raise
    return [run], {run.id: name}


def _is_file(wanted: str) -> bool:
    return Path(wanted).is_file()


def _spans(wanted: str) -> Iterable[StoredSpan]:
    from nexus_otel.export.files import spans_in, spans_of_lines

    def left_out(what: str) -> None:
        say(f"left out: {what}")

    if wanted == "-":
        return list(spans_of_lines(sys.stdin.buffer, "stdin", left_out))
    return list(spans_in(Path(wanted), left_out))


def _print_several(found: Sequence[tuple[Run, Sequence[Finding]]], names: dict[str, str]) -> None:
    to = console()
    failing = [(run, told(findings)) for run, findings in found if told(findings)]
    to.print(Text(f"{count(len(found), 'run')}, {count(len(failing), 'run')} with findings", style="bold"))
    modes = Counter(mode for _run, findings in failing for mode in {one.mode for one in findings})
    for mode, times in modes.most_common():
        to.print(f"  {mode:<20} {times:>5} of {len(found)} ({times / len(found):.0%})")
    for run, findings in failing[:_MOST_RUNS]:
        first = findings[0]
        to.print(
            Text(f"{names[run.id]}  {moment(run.start_ns)}  {first.mode}  {one_line(first.title, 100)}"), soft_wrap=True
        )
    if len(failing) > _MOST_RUNS:
        to.print(Text(f"and {len(failing) - _MOST_RUNS} more: --json lists every finding", style="dim"))
