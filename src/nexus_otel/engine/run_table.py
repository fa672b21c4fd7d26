"""Where open runs are found: by tool call, by response, by what was sent last, by the span and the task around them."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from opentelemetry import trace

from nexus_otel.engine.run import Awaited, Run

MAX_OPEN: Final = 10_000
MAX_PER_TASK: Final = 256
"""Open runs that one task or thread may have: a loop that never answers its model leaves no more behind."""
MAX_AWAITED: Final = 256
"""Unanswered tool calls that one run may hold; the oldest is forgotten."""
MAX_WITH_CONTENT: Final = 256
"""Open runs that hold their input and output for the root's end; the others keep their totals only."""
MAX_FINISHED: Final = 2_000
"""Finished runs that a later one may be linked to."""


class RunTable:
    """The open runs, least active first, and the ends of finished ones. Not locked: that is its owner's affair."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, Run] = OrderedDict()
        self._by_call: dict[str, list[Run]] = {}
        self._by_response: dict[str, list[Run]] = {}
        self._by_prefix: dict[int, list[Run]] = {}
        self._by_ambient: dict[int, list[Run]] = {}
        self._by_task: dict[Any, OrderedDict[int, Run]] = {}
        self._finished: OrderedDict[Any, trace.SpanContext] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._open.values()))

    @property
    def is_full(self) -> bool:
        """Whether there are more than there may be in a process."""
        return len(self._open) > MAX_OPEN

    # -- finding -------------------------------------------------------------------------------------------------------

    def awaiting(self, call_ids: Iterable[str]) -> list[Run]:
        """Return the runs that wait for the answer to one of these calls."""
        return list({id(run): run for call_id in call_ids for run in self._by_call.get(call_id, ())}.values())

    def after(self, response_id: str) -> list[Run]:
        """Return the runs whose last response has this id."""
        return list(self._by_response.get(response_id, ()))

    def sent(self, prefix: int) -> list[Run]:
        """Return the runs whose last request had the messages with this fingerprint."""
        return list(self._by_prefix.get(prefix, ()))

    def under(self, span_id: int) -> list[Run]:
        """Return the runs that began under a span."""
        return list(self._by_ambient.get(span_id, ()))

    def of_task(self, task: Any) -> list[Run]:
        """Return the runs that began in a task or thread, the last active first."""
        return list(reversed(self._by_task.get(task, OrderedDict()).values()))

    def finished(self, keys: Iterable[Any]) -> trace.SpanContext | None:
        """Return the root of the finished run that the first known of `keys` belongs to."""
        return next((self._finished[key] for key in keys if key in self._finished), None)

    # -- changing ------------------------------------------------------------------------------------------------------

    def add(self, run: Run) -> list[Run]:
        """Take a run that has begun; returns those that are too many by now."""
        self._open[id(run)] = run
        mine = self._by_task.setdefault(run.task, OrderedDict())
        mine[id(run)] = run
        if run.ambient.is_valid:
            self._by_ambient.setdefault(run.ambient.span_id, []).append(run)
        if len(self._open) > MAX_WITH_CONTENT:
            old = next(itertools.islice(reversed(self._open.values()), MAX_WITH_CONTENT, None))
            old.totals.content.clear()
        if len(mine) > MAX_PER_TASK:
            return [next(iter(mine.values()))]
        return [next(iter(self._open.values()))] if len(self._open) > MAX_OPEN else []

    def request(self, run: Run, prefixes: Sequence[int]) -> None:
        """Note what a run sends now; one that a library makes is not looked for, here and below."""
        if id(run) not in self._open:
            return
        _remove(self._by_prefix, run.prefix, run)
        if prefixes:
            run.prefix, run.prefix_length = prefixes[-1], len(prefixes)
            self._by_prefix.setdefault(run.prefix, []).append(run)
        self._open.move_to_end(id(run))
        if id(run) in self._by_task.get(run.task, ()):
            self._by_task[run.task].move_to_end(id(run))

    def respond(self, run: Run, response_id: str | None) -> None:
        """Note the id of the response that a run got."""
        if id(run) not in self._open:
            return
        if run.response_id is not None:
            _remove(self._by_response, run.response_id, run)
        run.response_id = response_id
        if response_id is not None:
            self._by_response.setdefault(response_id, []).append(run)

    def ask(self, run: Run, call_id: str, awaited: Awaited) -> None:
        """Note a tool call that a run's model asked for."""
        run.awaited[call_id] = awaited
        if id(run) in self._open:
            self._by_call.setdefault(call_id, []).append(run)
        if len(run.awaited) > MAX_AWAITED:
            oldest, _ = run.awaited.popitem(last=False)
            _remove(self._by_call, oldest, run)

    def answer(self, run: Run, call_id: str) -> Awaited | None:
        """Return the call that is answered now, which then is not awaited any more."""
        awaited = run.awaited.pop(call_id, None)
        if awaited is not None:
            _remove(self._by_call, call_id, run)
        return awaited

    def remove(self, run: Run) -> None:
        """Let go of a run that ends; what may lead to it later is remembered."""
        self._open.pop(id(run), None)
        _remove(self._by_ambient, run.ambient.span_id, run)
        mine = self._by_task.get(run.task)
        if mine is not None and mine.pop(id(run), None) is not None and not mine:
            del self._by_task[run.task]
        for call_id in run.awaited:
            _remove(self._by_call, call_id, run)
            self._remember(("call", call_id), run)
        run.awaited.clear()
        if run.prefix_length:
            _remove(self._by_prefix, run.prefix, run)
            self._remember(("prefix", run.prefix), run)
            self._remember(("prefix", run.answered), run)
        if run.response_id is not None:
            _remove(self._by_response, run.response_id, run)
            self._remember(("response", run.response_id), run)

    def _remember(self, key: Any, run: Run) -> None:
        self._finished[key] = run.span.get_span_context()
        while len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)


def _remove(table: dict[Any, list[Run]], key: Any, run: Run) -> None:
    runs = table.get(key)
    if runs is None:
        return
    if run in runs:
        runs.remove(run)
    if not runs:
        del table[key]
