"""Stored spans as runs: what belongs together, how it went, and which one a person means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from nexus_otel import semconv
from nexus_otel.config import NexusError

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

ERROR: Final = 2
SHORTEST_PREFIX: Final = 4
_SHORT: Final = 8
_RUN_OPERATIONS: Final = frozenset({semconv.INVOKE_AGENT, "invoke_workflow"})
_USAGE_OPERATIONS: Final = semconv.MODEL_OPERATIONS | {"embeddings"}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_RUN_ID: Final = re.compile(r"[0-9a-f]+(?::[0-9a-f]*)?")


class NothingFoundError(NexusError):
    """There is nothing of what was asked for."""


class AmbiguousError(NexusError):
    """What was asked for is not one thing, or not a name of a thing."""


def operation(span: StoredSpan) -> str:
    """Return the GenAI operation of a span; empty for any other span."""
    return str(span.attributes.get(semconv.OPERATION, ""))


def is_model_call(span: StoredSpan) -> bool:
    """Whether a span is a model call."""
    return operation(span) in semconv.MODEL_OPERATIONS


def is_tool_call(span: StoredSpan) -> bool:
    """Whether a span is a tool call."""
    return operation(span) == semconv.EXECUTE_TOOL


def has_failed(span: StoredSpan) -> bool:
    """Whether a span ended with an error, or is a tool call whose answer says that it failed."""
    return span.status == ERROR or span.attributes.get(semconv.TOOL_FAILED) is True


class Tree:
    """The spans of one trace by their parents.

    Attributes:
        roots: The spans whose parent is not among them, by start.
    """

    def __init__(self, spans: Iterable[StoredSpan]) -> None:
        ordered = sorted(spans, key=lambda span: span.start_ns)
        ids = {span.span_id for span in ordered}
        self._below: dict[str, list[StoredSpan]] = defaultdict(list)
        self.roots: list[StoredSpan] = []
        for span in ordered:
            if span.parent_id in ids and span.parent_id != span.span_id:
                self._below[span.parent_id].append(span)
            else:
                self.roots.append(span)

    def children(self, span: StoredSpan) -> Sequence[StoredSpan]:
        """Return the spans directly below a span, by start."""
        return self._below.get(span.span_id, ())

    def walk(self, *starts: StoredSpan) -> Iterator[StoredSpan]:
        """Yield spans and all below them, parents first, siblings by start."""
        yield from self.walk_while(lambda _span: True, *starts)

    def walk_while(self, descend: Callable[[StoredSpan], bool], *starts: StoredSpan) -> Iterator[StoredSpan]:
        """Yield spans and those below them, below a span only if `descend` is true of it."""
        waiting = list(reversed(starts))
        while waiting:
            span = waiting.pop()
            yield span
            if descend(span):
                waiting.extend(reversed(self.children(span)))


@dataclass(frozen=True)
class Run:
    """One run of an agent, or a trace without an agent.

    Attributes:
        id: The trace id, or `TRACE:SPAN` where a trace holds several runs.
        roots: The span of the run; several only in a trace without an agent.
        tree: The trace's spans.
    """

    id: str
    roots: tuple[StoredSpan, ...]
    tree: Tree

    @cached_property
    def spans(self) -> list[StoredSpan]:
        """All spans of the run, parents first."""
        return list(self.tree.walk(*self.roots))

    @property
    def root(self) -> StoredSpan:
        """The first span of the run."""
        return self.roots[0]

    @property
    def trace_id(self) -> str:
        """The trace that the run is in."""
        return self.root.trace_id

    @property
    def agent(self) -> str:
        """The agent's or workflow's name, else the service's, else the first span's."""
        own = self.root.attributes
        service = self.root.resource.get("service.name") or ""
        named = own.get(semconv.AGENT_NAME) or own.get(semconv.WORKFLOW_NAME)
        if not named and operation(self.root) in _RUN_OPERATIONS:
            named = "" if str(service).startswith("unknown_service") else service
        return str(named or self.root.name)

    @property
    def start_ns(self) -> int:
        """When the run began, in nanoseconds since 1970."""
        return self.root.start_ns

    @cached_property
    def end_ns(self) -> int:
        """The run's end, or the last sign of life of an open one."""
        times = [root.end_ns for root in self.roots]
        if None not in times:
            return max(time for time in times if time is not None)
        return max(span.start_ns if span.end_ns is None else span.end_ns for span in self.spans)

    @property
    def duration_s(self) -> float:
        """How long the run took, or has taken so far."""
        return max(0, self.end_ns - self.start_ns) / 1e9

    @property
    def died(self) -> bool:
        """Whether the process ended before the run did."""
        return any(root.died for root in self.roots)

    @property
    def status(self) -> str:
        """How the run ended: ok, error, or open."""
        if any(root.status == ERROR or root.died for root in self.roots):
            return "error"
        return "open" if any(root.open for root in self.roots) else "ok"

    @cached_property
    def steps(self) -> list[StoredSpan]:
        """The logical model calls of the run, by start."""
        outermost = self.tree.walk_while(lambda span: not is_model_call(span), *self.roots)
        return sorted((span for span in outermost if is_model_call(span)), key=lambda span: span.start_ns)

    @cached_property
    def tool_calls(self) -> list[StoredSpan]:
        """The tool calls of the run."""
        return [span for span in self.spans if is_tool_call(span)]

    @property
    def errors(self) -> list[StoredSpan]:
        """The spans of the run that failed."""
        return [span for span in self.spans if has_failed(span)]

    def tokens(self, name: str, total: str) -> int | None:
        """Return the tokens of the run; None where no model call gave any.

        Args:
            name: The usage attribute of a model call.
            total: The attribute of the run's own span, used where model calls have none.
        """
        outermost = self.tree.walk_while(lambda span: operation(span) not in _USAGE_OPERATIONS, *self.roots)
        counts = [s.attributes.get(name) for s in outermost if operation(s) in _USAGE_OPERATIONS]
        known = [count for count in counts if isinstance(count, int)]
        if known:
            return sum(known)
        own = self.root.attributes.get(total)
        return own if isinstance(own, int) else None

    @property
    def input_tokens(self) -> int | None:
        """The input tokens of all model calls."""
        return self.tokens(semconv.USAGE_INPUT, semconv.TOTAL_INPUT)

    @property
    def output_tokens(self) -> int | None:
        """The output tokens of all model calls."""
        return self.tokens(semconv.USAGE_OUTPUT, semconv.TOTAL_OUTPUT)

    def as_json(self) -> dict[str, Any]:
        """Return the run for `--json`."""
        return {
            "id": self.id,
            "trace_id": self.trace_id,
            "span_id": self.root.span_id,
            "agent": self.agent,
            "status": self.status,
            "died": self.died,
            "error.type": self.root.attributes.get(semconv.ERROR_TYPE),
            "start": datetime.fromtimestamp(self.start_ns / 1e9, UTC).isoformat(),
            "duration_s": self.duration_s,
            "steps": len(self.steps),
            "tool_calls": len(self.tool_calls),
            "errors": len(self.errors),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }


def runs_of(spans: Iterable[StoredSpan]) -> list[Run]:
    """Return the runs in spans of any traces, newest first."""
    traces: dict[str, list[StoredSpan]] = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    found = [run for trace in traces.values() for run in _runs_of_trace(Tree(trace))]
    return sorted(found, key=lambda run: (run.start_ns, run.id), reverse=True)


def _runs_of_trace(tree: Tree) -> list[Run]:
    above = tree.walk_while(lambda span: operation(span) not in _RUN_OPERATIONS, *tree.roots)
    agents = [span for span in above if operation(span) in _RUN_OPERATIONS]
    if not tree.roots:  # each span names another of them as its parent
        return []
    if not agents:
        return [Run(tree.roots[0].trace_id, tuple(tree.roots), tree)]
    if len(agents) == 1:
        return [Run(agents[0].trace_id, (agents[0],), tree)]
    return [Run(f"{agent.trace_id}:{agent.span_id}", (agent,), tree) for agent in agents]


# -- what a person means -------------------------------------------------------------------------------


def short_ids(runs: Sequence[Run], trace_ids: Collection[bytes] = ()) -> dict[str, str]:
    """Return for each run's id the shortest form of at least 8 characters that means it alone.

    Args:
        runs: All runs of their traces.
        trace_ids: The traces of these and of all other runs.
    """
    length = _SHORT
    while True:
        short = {run.id: _shortened(run.id, length) for run in runs}
        traces = {trace.hex()[:length] for trace in trace_ids}
        if len(set(short.values())) == len(short) and len(traces) == len(trace_ids):
            return short
        length += 2


def _shortened(run_id: str, length: int) -> str:
    return ":".join(part[:length] for part in run_id.split(":"))


def select(runs: Sequence[Run], wanted: str) -> Run:
    """Return the run that `wanted` names: an id, the beginning of one, or `last`.

    Args:
        runs: The runs, newest first.
        wanted: What the user typed.

    Raises:
        NothingFoundError: There is no such run.
        AmbiguousError: There are several, or it is too short.
    """
    if wanted == "last":
        if not runs:
            raise NothingFoundError("no run is recorded yet")
        return runs[0]
    found = matching(runs, wanted)
    if len(found) > 1:
        short = short_ids(runs)
        names = ", ".join(short[run.id] for run in found[:5])
        raise AmbiguousError(f"{wanted} means {len(found)} runs: {names}{', ...' if found[5:] else ''}")
    return found[0]


def matching(runs: Sequence[Run], wanted: str) -> list[Run]:
    """Return the runs whose id begins with `wanted`, at least one.

    Raises:
        NothingFoundError: There is no such run.
        AmbiguousError: It is too short.
    """
    name = wanted.lower()
    trace, _, span = name.partition(":")
    if len(trace) < SHORTEST_PREFIX:
        raise AmbiguousError(f"{wanted!r} is too short: give at least {SHORTEST_PREFIX} characters of a run's id")
    found = [run for run in runs if _matches(run, trace, span)] if _RUN_ID.fullmatch(name) else []
    if not found:
        raise NothingFoundError(f"no run {wanted}")
    return found


def _matches(run: Run, trace: str, span: str) -> bool:
    return run.trace_id.startswith(trace) and (not span or run.root.span_id.startswith(span))


def since(text: str, now: datetime, option: str = "--since") -> int:
    """Return the moment that an option names, in nanoseconds since 1970.

    Args:
        text: A length of time before now (`30m`, `2h`, `1d`), or an ISO date or time, local by default.
        now: The present moment.
        option: For the message.

    Raises:
        AmbiguousError: It is neither.
    """
    length = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    try:
        if length:
            moment = now - timedelta(**{_UNITS[length[2]]: float(length[1])})
        else:
            moment = datetime.fromisoformat(text.strip()).astimezone()
        return int(moment.timestamp() * 1e9)
    except (ValueError, OverflowError, OSError):
        raise AmbiguousError(
            f"{option} {text!r}: expected a length of time (30m, 2h, 1d) or a date (2026-11-22)"
        ) from None
