"""`nexus-otel diagnose`: what went wrong in a run, or in the traces of a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from rich.text import Text

from nexus_otel.cli.filters import Wanted
from nexus_otel.cli.findings import findings_of, told
from nexus_otel.cli.others import others
from nexus_otel.cli.report import print_report
from nexus_otel.cli.runs import AmbiguousError, NothingFoundError, Run, Tree
from nexus_otel.cli.sources import Source, is_file, one_run, opened
from nexus_otel.cli.terminal import console, count, is_unicode, moment, one_line
from nexus_otel.detect.model import MODES, Finding

FOUND: int = 3
"""The exit code for a finding of a mode in `--fail-on`."""
_MOST_RUNS = 20


def diagnose(wanted: str | None, fail_on: Sequence[str], store: str | None = None, *, as_json: bool) -> int:
    """Print what is found; returns the exit code.

    Args:
        wanted: A run, `last`, a file, or `-` for OTLP JSON lines on stdin; the last run when not given.
        fail_on: The modes that make the exit code 3; `any` for each of them.
        store: Where the run is; the local store when not given.
        as_json: One finding a line.

    Raises:
        NothingFoundError: There is no such run, and no such file.
        AmbiguousError: A mode in `fail_on` does not exist.
    """
    modes = _modes(fail_on)
    source, runs = _runs(wanted, store)
    if as_json:
        return FOUND if modes & _print_json(runs) else 0
    first = list(islice(runs, 2))
    if not first:
        raise source.nothing(Wanted())
    if len(first) == 1:
        findings = findings_of(first[0])
        loud = told(findings)
        same = others(source, first[0], loud[0].mode) if loud else ""
        print_report(first[0], source.short(first)[first[0].id], findings, console(), same)
        return FOUND if modes & {one.mode for one in loud} else 0
    several = _Several()
    for run in chain(first, runs):
        several.add(run)
    several.print(source)
    return FOUND if modes & several.modes.keys() else 0


def _modes(given: Sequence[str]) -> frozenset[str]:
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    for name in names:
        if name not in {*MODES, "any"}:
            raise AmbiguousError(f"--fail-on {name!r}: expected any or {', '.join(MODES)}")
    return frozenset(MODES if "any" in names else names)


def _runs(wanted: str | None, store: str | None) -> tuple[Source, Iterator[Run]]:
    """Return the runs that are meant, those that were last heard of first, and where they are."""
    if store is None and wanted is not None and is_file(wanted):
        source = opened(wanted)
        return source, source.each(Wanted())
    source = opened(store)
    try:
        run, _name = one_run(source, wanted or "last")
    except NothingFoundError:
        if wanted is not None and ("/" in wanted or "." in wanted):
            raise NothingFoundError(f"no run and no file {wanted}") from None
        raise
    return source, iter([run])


def _print_json(runs: Iterable[Run]) -> set[str]:
    """Print each finding; return the modes of those that tell."""
    modes: set[str] = set()
    for run in runs:
        findings = findings_of(run)
        modes |= {one.mode for one in told(findings)}
        for finding in findings:
            print(json.dumps({"schema": 1, **finding.as_json()}, default=str))
    return modes


@dataclass(slots=True)
class _Several:
    """What is found in many runs, as far as it is shown: the runs themselves are let go.

    Attributes:
        runs: How many there are.
        failing: How many of them have findings that tell.
        modes: In how many runs each mode was found.
        shown: The first of them, without what is below, and their first findings.
    """

    runs: int = 0
    failing: int = 0
    modes: Counter[str] = field(default_factory=Counter)
    shown: list[tuple[Run, Finding]] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Take one run."""
        self.runs += 1
        findings = told(findings_of(run))
        if not findings:
            return
        self.failing += 1
        self.modes.update({one.mode for one in findings})
        if len(self.shown) < _MOST_RUNS:
            self.shown.append((Run(run.id, run.roots, Tree(run.roots)), findings[0]))

    def print(self, source: Source) -> None:
        """Print all of it."""
        to = console()
        to.print(Text(f"{count(self.runs, 'run')}, {count(self.failing, 'run')} with findings", style="bold"))
        for mode, times in self.modes.most_common():
            to.print(f"  {mode:<20} {times:>5} of {self.runs} ({times / self.runs:.0%})")
        names = source.short([run for run, _first in self.shown])
        for run, first in self.shown:
            line = f"{names[run.id]}  {moment(run.start_ns)}  {first.mode}  {one_line(first.title, 100)}"
            cut = Text(line)
            cut.truncate(to.width, overflow="ellipsis" if is_unicode(to) else "crop")
            to.print(cut, soft_wrap=True)
        if self.failing > len(self.shown):
            more = f"and {self.failing - len(self.shown)} more: --json lists every finding"
            to.print(Text(more, style="dim"))
