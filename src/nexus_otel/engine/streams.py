"""Streams: their events are folded as they pass, and their step ends once, however they end."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any, Final

from nexus_otel._guard import guard, report
from nexus_otel.engine.steps import CANCELLATIONS, Step
from nexus_otel.engine.target import Fold
from nexus_otel.genai.operations import Failure, Result

CLOSED: Final = "closed"
ABANDONED: Final = "abandoned"
CANCELLED: Final = "cancelled"
Closed = Callable[[BaseException | None], None]
"""Is told that a connection is closed, or how that failed."""


class Watch:
    """The watch over one stream: sees each event, and knows how the stream ended.

    Args:
        step: The call that the stream answers.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._fold: Fold | None = None
        with guard.of("preparing to read the stream of", step.target.name):
            self._fold = step.fold()
        self._first_s: float | None = None
        self._times: list[float] | None = [] if step.times_chunks else None
        self._handled = sys.exception()
        self._told: Callable[[Any], None] | None = None
        _open.add(self)

    # -- events --------------------------------------------------------------------------------------------------------

    def begun(self) -> Callable[[Any], None]:
        """Know that the first event is there; returns what takes each event from now on, and may raise."""
        self._first_s = self._step.elapsed_s
        add = self._fold.add if self._fold is not None else ignored
        return add if self._times is None else self._timed(add, self._times)

    def _timed(self, add: Callable[[Any], None], times: list[float]) -> Callable[[Any], None]:
        def timed(event: Any) -> None:
            times.append(time.perf_counter())
            add(event)

        return timed

    def event(self, event: Any) -> None:
        """Take one event that was told, not read here."""
        if self._told is None:
            self._told = self.begun()
        self._told(event)

    def answered(self, value: Any) -> None:
        """The whole answer was told at the stream's end."""
        result: Result | None = None
        with guard.of("reading what", self._step.target.name):
            result = self._step.target.response(value) if self._step.target.response is not None else None
        self._finish(result=result)

    def broken(self, error: Exception) -> None:
        """Report that an event could not be read: the stream goes on, unread."""
        report(f"reading the stream of {self._step.target.name}", error)

    # -- the end -------------------------------------------------------------------------------------------------------

    def exhausted(self) -> None:
        """The stream was read to its end."""
        self._finish()

    def failed(self, error: BaseException) -> None:
        """Reading it raised, in the library or in the code of a `with` block around it."""
        if isinstance(error, GeneratorExit):
            self.stopped(ABANDONED)
            return
        if type(error).__name__ in CANCELLATIONS:
            self.stopped(CANCELLED)
            return
        failure = Failure(type(error).__name__)
        with guard.of("reading the failure of", self._step.target.name):
            failure = self._step.target.failure(error)
        self._finish(failure=failure, error=error)

    def stopped(self, how: str) -> None:
        """Nobody reads on; where the answer was complete all the same, it counts as read."""
        complete = bool(getattr(self._fold, "complete", False))
        self._finish(stream=None if complete else how)

    def closing(self, iterator: Any) -> Closed | None:
        """Somebody closes the connection: the reader at its end, the caller, an exception, the collector.

        Returns:
            What is to be told when it is closed, where that ends the stream.
        """
        error = sys.exception()
        if running(iterator) and not isinstance(error, GeneratorExit):
            return None  # the end of the stream, or its failure: the iterator tells
        if error is None or error is self._handled:
            return self._closed
        self.failed(error)
        return None

    def _closed(self, error: BaseException | None) -> None:
        if error is None:
            self.stopped(CLOSED)
        else:
            self.failed(error)

    def _finish(self, result: Result | None = None, **how: Any) -> None:
        if self._step.ended:
            return
        with _ENDING:
            with guard.of("reading the stream of", self._step.target.name):
                if result is None and self._fold is not None:
                    result = self._fold.result()
            gaps = [after - before for before, after in pairwise(self._times or ())]
            self._step.finish(result, first_chunk_s=self._first_s, chunk_gaps_s=gaps, **how)
        _open.discard(self)


_ENDING: Final = guard("ending a stream")
_open: weakref.WeakSet[Watch] = weakref.WeakSet()
at_end: Final[list[Callable[[], None]]] = []
"""What ends further things that are open, whatever they are."""


def end_open() -> None:
    """End what is still open besides runs, streams first: the process ends."""
    for watch in _all_open():
        with guard("ending an open stream"):
            watch.stopped(ABANDONED)
    for end in at_end:
        end()


def _all_open() -> list[Watch]:
    while True:
        try:
            return list(_open)
        except RuntimeError:  # another thread began or ended one meanwhile
            continue


class _Seen:
    """What the two colours of a watched stream share: each event is seen, once, by whatever takes it now."""

    __slots__ = ("_iterator", "_next", "_see", "_watch")

    def __init__(self, iterator: Any, watch: Watch, read: Callable[[], Any]) -> None:
        self._iterator = iterator
        self._watch = watch
        self._next = read
        self._see: Callable[[Any], None] | None = None  # not a method of this: nothing of ours is a cycle

    def _begin(self) -> Callable[[Any], None]:
        self._see = ignored  # where what follows fails
        self._see = self._watch.begun()
        return self._see

    def _stumbled(self, error: Exception) -> None:
        self._see = ignored
        self._watch.broken(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)


class Watched(_Seen):
    """The events of a stream, each seen by its watch."""

    __slots__ = ()

    def __init__(self, iterator: Iterator[Any], watch: Watch) -> None:
        super().__init__(iterator, watch, iterator.__next__)

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> Any:
        try:
            event = self._next()
        except StopIteration:
            self._watch.exhausted()
            raise
        except BaseException as error:
            self._watch.failed(error)
            raise
        try:
            (self._see or self._begin())(event)
        except Exception as error:  # noqa: BLE001 - ours: the stream goes on
            self._stumbled(error)
        return event


class WatchedAsync(_Seen):
    """The events of an async stream, each seen by its watch."""

    __slots__ = ()

    def __init__(self, iterator: AsyncIterator[Any], watch: Watch) -> None:
        super().__init__(iterator, watch, iterator.__anext__)

    def __aiter__(self) -> WatchedAsync:
        return self

    async def __anext__(self) -> Any:
        try:
            event = await self._next()
        except StopAsyncIteration:
            self._watch.exhausted()
            raise
        except BaseException as error:
            self._watch.failed(error)
            raise
        try:
            (self._see or self._begin())(event)
        except Exception as error:  # noqa: BLE001 - ours: the stream goes on
            self._stumbled(error)
        return event


def watched(iterator: Any, watch: Watch) -> Watched | WatchedAsync:
    """Return the same events, watched."""
    return WatchedAsync(iterator, watch) if hasattr(iterator, "__anext__") else Watched(iterator, watch)


def running(iterator: Any) -> bool:
    """Whether a generator is executing: somebody is inside it right now."""
    return bool(getattr(iterator, "gi_running", False) or getattr(iterator, "ag_running", False))


def ignored(_event: Any) -> None:
    """Take an event and do nothing with it."""
