"""`nexus-otel compare`: two runs step by step, or sets of runs, such as those of two versions."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from nexus_otel import semconv
from nexus_otel.cli.filters import NAMED, Wanted
from nexus_otel.cli.findings import cost_of, findings_of, told
from nexus_otel.cli.runs import AmbiguousError, NothingFoundError, Run, has_failed, is_model_call, is_tool_call
from nexus_otel.cli.sources import Source, is_file, one_run, opened
from nexus_otel.cli.terminal import console, count, duration, number, one_line, run_duration
from nexus_otel.detect.model import MODES

_Z: Final = 1.96
"""Of a 95 % interval."""
_BY: Final = {
    "version": (semconv.AGENT_VERSION, semconv.SERVICE_VERSION),
    "git": (semconv.REVISION,),
    "env": (semconv.ENVIRONMENT,),
    "agent": (),
}
_COMMIT: Final = re.compile(r"[0-9a-f]{4,40}")
_FEW: Final = 20
"""Runs below which a rate says little."""


# -- two runs ----------------------------------------------------------------------------------------------------------


def compare_runs(first: str, second: str, store: str | None = None, *, as_json: bool) -> None:
    """Print two runs side by side, aligned by what they did, and where they part.

    Args:
        first: A run, as for `show`, or a file. If a file holds several runs, the two are compared as sets.
        second: Another.
        store: Where the runs are; the local store when not given.
        as_json: As one JSON object.
    """
    wanted = first, second
    if store is None and all(map(is_file, wanted)):
        sources = [opened(name) for name in wanted]
        if any(len(list(islice(source.each(Wanted()), 2))) > 1 for source in sources):
            found = {name: source.each(Wanted()) for name, source in zip(wanted, sources, strict=True)}
            sets = [_Set(name).filled(runs) for name, runs in found.items()]
            _print_of("file", sorted(sets, key=lambda one: one.newest_ns), as_json=as_json)
            return
        _print_two([one_run(source, "last") for source in sources], as_json=as_json)
        return
    source = opened(store)
    _print_two([_one_run(name, source) for name in wanted], as_json=as_json)


def _one_run(name: str, source: Source) -> tuple[Run, str]:
    return one_run(opened(name), "last") if is_file(name) else one_run(source, name)


def _print_two(runs: Sequence[tuple[Run, str]], *, as_json: bool) -> None:
    steps = [[_step(span) for span in _actions(run)] for run, _name in runs]
    rows = list(_aligned([step.key for step in steps[0]], [step.key for step in steps[1]]))
    part = next((at for at, (left, right) in enumerate(rows) if left is None or right is None), None)
    if as_json:
        made = [[None if at is None else steps[side][at].as_json() for side, at in enumerate(row)] for row in rows]
        print(json.dumps({"schema": 1, "runs": [run.as_json() for run, _ in runs], "parts_at": part, "steps": made}))
        return
    to = console()
    for run, name in runs:
        tokens = number((run.input_tokens or 0) + (run.output_tokens or 0))
        to.print(
            Text(f"{name}  {run.agent}  {run.status}  {run_duration(run)}  {len(run.steps)} steps  {tokens} tokens")
        )
    to.print()
    table = Table(box=None, pad_edge=False, show_header=False, expand=False)
    for at, (left, right) in enumerate(rows):
        shown = [steps[side][place].text if place is not None else "-" for side, place in enumerate((left, right))]
        style = "bold yellow" if at == part else "default" if left is not None and right is not None else "yellow"
        table.add_row(str(at + 1), *shown, style=style)
    to.print(table)
    said = "they do the same" if part is None else f"they part at row {part + 1}"
    to.print(Text(said, style="bold"))


@dataclass(frozen=True, slots=True)
class _Step:
    """One action of a run: what makes it the same as another, and how it is shown."""

    key: tuple[Any, ...]
    text: str
    span_id: str
    failed: bool

    def as_json(self) -> dict[str, Any]:
        return {"span_id": self.span_id, "what": self.text, "failed": self.failed}


def _actions(run: Run) -> list[Any]:
    found = [span for span in run.spans if is_model_call(span) or is_tool_call(span)]
    return sorted(found, key=lambda span: span.start_ns)


def _step(span: Any) -> _Step:
    failed = has_failed(span)
    took = duration(max(0, (span.end_ns or span.start_ns) - span.start_ns) / 1e9)
    said = one_line(f"{span.name}  {took}{'  failed' if failed else ''}", 60)
    return _Step((span.name, span.attributes.get(semconv.ARGUMENTS_HASH), failed), said, span.span_id, failed)


def _aligned(first: Sequence[Any], second: Sequence[Any]) -> Iterable[tuple[int | None, int | None]]:
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    for kind, left, left_end, right, right_end in matcher.get_opcodes():
        if kind == "equal":
            yield from zip(range(left, left_end), range(right, right_end), strict=True)
        else:
            yield from ((at, None) for at in range(left, left_end))
            yield from ((None, at) for at in range(right, right_end))


# -- sets of runs ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Set:
    """What the runs of one value came to."""

    name: str
    runs: int = 0
    failed: int = 0
    newest_ns: int = 0
    steps: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, run: Run) -> None:
        """Take one run."""
        self.runs += 1
        self.failed += run.status == "error"
        self.newest_ns = max(self.newest_ns, run.start_ns)
        self.steps.append(len(run.steps))
        self.seconds.append(run.duration_s)
        if run.input_tokens is not None or run.output_tokens is not None:
            self.tokens.append((run.input_tokens or 0) + (run.output_tokens or 0))
        if (cost := cost_of(run)) is not None:
            self.costs.append(cost)
        for mode in {finding.mode for finding in told(findings_of(run))}:
            self.modes[mode] += 1

    def filled(self, runs: Iterable[Run]) -> _Set:
        """Take runs, and return itself."""
        for run in runs:
            self.add(run)
        return self

    def as_json(self) -> dict[str, Any]:
        """Return it for `--json`."""
        rates = {mode: _rate_json(self.modes.get(mode, 0), self.runs) for mode in MODES}
        return {
            "name": self.name,
            "runs": self.runs,
            "failed": _rate_json(self.failed, self.runs),
            "modes": rates,
            "steps": _quantiles(self.steps),
            "tokens": _quantiles(self.tokens),
            "cost_usd": _quantiles(self.costs),
            "duration_s": _quantiles(self.seconds),
        }


def compare_sets(by: str, since_ns: int, names: Sequence[str], store: str | None = None, *, as_json: bool) -> None:
    """Print how the runs of each version (commit, environment, agent) went, the newest last or as `names` has them.

    Args:
        by: version, git, env or agent.
        since_ns: Only runs since then, in nanoseconds since 1970.
        names: Only these values, or those that begin so (`1.2` is no beginning of `1.20`); all when empty.
        store: Where the runs are; the local store when not given.
        as_json: As one JSON object.

    Raises:
        NothingFoundError: There is no such run.
    """
    value_of = _reader(by)
    sets: dict[str, _Set] = {}
    place = _matcher(names)
    wanted = Wanted(earliest_ns=since_ns, hint=(_BY[by] or NAMED[by], tuple(names)))
    for run in opened(store).each(wanted):
        name = value_of(run)
        if name is not None and place(name) is not None:
            sets.setdefault(name, _Set(name)).add(run)
    if not sets:
        raise NothingFoundError(f"no run with a value for --by {by}")
    _print_of(by, sorted(sets.values(), key=lambda one: (place(one.name), one.newest_ns)), as_json=as_json)


def _print_of(by: str, ordered: Sequence[_Set], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"schema": 1, "by": by, "sets": [one.as_json() for one in ordered]}))
        return
    _print_sets(by, ordered)


def _matcher(names: Sequence[str]) -> Callable[[str], int | None]:
    """Return what gives a value's place among those that are asked for, None for others; all are without any."""

    def place(name: str) -> int | None:
        if not names:
            return 0
        exact = [at for at, one in enumerate(names) if name == one]
        begun = [
            at
            for at, one in enumerate(names)
            if re.match(re.escape(one) + ("(?!\\d)" if one[-1:].isdigit() else ""), name)
        ]
        commits = [at for at, one in enumerate(names) if _COMMIT.fullmatch(one) and name.startswith(one)]
        return next(iter((*exact, *begun, *commits)), None)

    return place


def _reader(by: str) -> Callable[[Run], str | None]:
    if by not in _BY:
        raise AmbiguousError(f"--by {by!r}: expected {', '.join(_BY)}")
    if by == "agent":
        return lambda run: run.agent

    def value_of(run: Run) -> str | None:
        for name in _BY[by]:
            found = run.root.attributes.get(name) or run.root.resource.get(name)
            if found:
                return str(found)
        return None

    return value_of


def _print_sets(by: str, sets: Sequence[_Set]) -> None:
    to = console()
    table = Table(box=None, pad_edge=False)
    table.add_column(by)
    for one in sets:
        table.add_column(one_line(one.name, 24), justify="right")
    rows: list[tuple[str, list[str]]] = [
        ("runs", [number(one.runs) for one in sets]),
        ("failed", [_rate(one.failed, one.runs) for one in sets]),
        *((mode, [_rate(one.modes.get(mode, 0), one.runs) for one in sets]) for mode in _changed(sets)),
        ("steps, middle", [_middle(one.steps, "{:,.0f}") for one in sets]),
        ("tokens, middle", [_middle(one.tokens, "{:,.0f}") for one in sets]),
        *([("cost, middle", [_middle(one.costs, "${:,.4f}") for one in sets])] if any(s.costs for s in sets) else []),
        ("time, p50 / p95", [_times(one.seconds) for one in sets]),
    ]
    for label, cells in rows:
        table.add_row(label, *cells)
    for line in _news(sets):
        to.print(Text(line, style="bold"), soft_wrap=True)
    to.print(table)
    if any(one.runs < _FEW for one in sets):
        to.print(Text(f"fewer than {_FEW} runs say little; intervals are 95 % (Wilson)", style="dim"))


def _changed(sets: Sequence[_Set]) -> list[str]:
    """Return the modes that were found, those that the last set has more of first."""
    found = [mode for mode in MODES if any(one.modes.get(mode) for one in sets)]
    return sorted(found, key=lambda mode: _share(sets[-2:][0], mode) - _share(sets[-1], mode))


def _news(sets: Sequence[_Set]) -> Iterable[str]:
    if len(sets) < 2:  # noqa: PLR2004 - nothing to compare with
        return
    before, after = sets[-2], sets[-1]
    for mode in MODES:
        old, new = before.modes.get(mode, 0), after.modes.get(mode, 0)
        low, _high = _wilson(new, after.runs)
        _low, high = _wilson(old, before.runs)
        if new and low > high:
            was = f"{old} of {before.runs} in {before.name}"
            yield f"{mode}: {new} of {after.runs} in {after.name}, {was}: more than chance"
        elif new and not old:
            yield f"{mode}: new in {after.name} ({count(new, 'run')})"


def _share(one: _Set, mode: str) -> float:
    return one.modes.get(mode, 0) / one.runs if one.runs else 0.0


def _wilson(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate (Wilson 1927), which holds for few runs too."""
    if not of:
        return 0.0, 1.0
    share, z2 = hits / of, _Z * _Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def _rate(hits: int, of: int) -> str:
    low, high = _wilson(hits, of)
    return f"{hits / of:.0%} ({low:.0%}-{high:.0%})" if of else "-"


def _rate_json(hits: int, of: int) -> dict[str, Any]:
    low, high = _wilson(hits, of)
    return {"count": hits, "rate": hits / of if of else None, "low": low, "high": high}


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {
        "p50": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, math.ceil(len(ordered) * 0.95) - 1)],
    }


def _middle(values: Sequence[float], form: str) -> str:
    return form.format(statistics.median(values)) if values else "-"


def _times(values: Sequence[float]) -> str:
    found = _quantiles(values)
    return f"{duration(found['p50'])} / {duration(found['p95'])}" if found else "-"
