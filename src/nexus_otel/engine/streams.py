"""Streams: their events are folded as they pass, and their step ends once, however they end."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any, Final

from nexus_otel._guard import guard, report
from nexus_otel.engine.driver import ModelStep
from nexus_otel.engine.target import Fold
from nexus_otel.genai.operations import Failure, InferenceResult

CLOSED: Final = "closed"
ABANDONED: Final = "abandoned"
CANCELLED: Final = "cancelled"


class Watch:
    """The watch over one stream: sees each event, and knows how the stream ended.

    Args:
        step: The model call that the stream answers.
    """

    def __init__(self, step: ModelStep) -> None:
        self._step = step
        self._fold: Fold | None = None
        with guard.of("preparing to read the stream of", step.target.name):
            self._fold = step.fold()
        self._add: Callable[[Any], None] = self._fold.add if self._fold is not None else _ignored
        self._first_s: float | None = None
        self._times: list[float] | None = [] if step.times_chunks else None
        self._handled = sys.exception()
        self.see: Callable[[Any], None] = self._see_first
        _open.add(self)

    # -- events --------------------------------------------------------------------------------------------------------

    def _see_first(self, event: Any) -> None:
        self._first_s = self._step.elapsed_s
        self.see = self._see_timed if self._times is not None else self._see
        self.see(event)

    def _see(self, event: Any) -> None:
        try:
            self._add(event)
        except Exception as error:  # noqa: BLE001 - ours: the stream goes on
            self._broken(error)

    def _see_timed(self, event: Any) -> None:
        if self._times is not None:
            self._times.append(time.perf_counter())
        self._see(event)

    def _broken(self, error: Exception) -> None:
        self._add = _ignored
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
        if type(error).__name__ == "CancelledError":
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

    def closing(self, iterator: Any) -> None:
        """Somebody closes the connection: the reader at its end, the caller, an exception, the collector."""
        error = sys.exception()
        if running(iterator) and not isinstance(error, GeneratorExit):
            return  # the end of the stream, or its failure: the iterator tells
        if error is not None and error is not self._handled:
            self.failed(error)
        else:
            self.stopped(CLOSED)

    def _finish(self, **how: Any) -> None:
        if self._step.ended:
            return
        result: InferenceResult | None = None
        with guard.of("reading the stream of", self._step.target.name):
            result = self._fold.result() if self._fold is not None else None
        times = self._times or ()
        gaps = [after - before for before, after in pairwise(times)]
        self._step.finish(result, how.pop("failure", None), how.pop("error", None),
                          first_chunk_s=self._first_s, chunk_gaps_s=gaps, **how)  # fmt: skip
        _open.discard(self)


_open: weakref.WeakSet[Watch] = weakref.WeakSet()


def end_open() -> None:
    """End the streams that are still open: the process ends."""
    for watch in list(_open):
        with guard("ending an open stream"):
            watch.stopped(ABANDONED)


class Watched:
    """The events of a stream, each seen by its watch."""

    __slots__ = ("_iterator", "_next", "_watch")

    def __init__(self, iterator: Iterator[Any], watch: Watch) -> None:
        self._iterator = iterator
        self._next = iterator.__next__
        self._watch = watch

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
        self._watch.see(event)
        return event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)


class WatchedAsync:
    """The events of an async stream, each seen by its watch."""

    __slots__ = ("_iterator", "_next", "_watch")

    def __init__(self, iterator: AsyncIterator[Any], watch: Watch) -> None:
        self._iterator = iterator
        self._next = iterator.__anext__
        self._watch = watch

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
        self._watch.see(event)
        return event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)


def watched(iterator: Any, watch: Watch) -> Watched | WatchedAsync:
    """Return the same events, watched."""
    return WatchedAsync(iterator, watch) if hasattr(iterator, "__anext__") else Watched(iterator, watch)


def running(iterator: Any) -> bool:
    """Whether a generator is executing: somebody is inside it right now."""
    return bool(getattr(iterator, "gi_running", False) or getattr(iterator, "ag_running", False))


def _ignored(_event: Any) -> None:
    return None
