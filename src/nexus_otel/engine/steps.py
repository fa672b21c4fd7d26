"""One life of a wrapped call: begin, value or error, end; the same for sync, async and streams."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry.context import Context
from opentelemetry.trace import Span

from nexus_otel._guard import guard, report
from nexus_otel.engine import scope
from nexus_otel.engine.run import Place
from nexus_otel.engine.target import Call, Fold, Target
from nexus_otel.genai.operations import Failure, Outcome

CANCELLATIONS: Final = frozenset({"CancelledError", "Cancelled"})
"""Names of the exceptions by which asyncio, anyio and trio cancel."""


class Step:
    """A wrapped call that is recorded: current while it runs, ended exactly once."""

    __slots__ = ("_context", "_once", "_pid", "_started_s", "_token", "args", "call", "kwargs", "place", "target")

    def __init__(self, target: Target, call: Call) -> None:
        self.target = target
        self.call = call
        self.args = call.args
        self.kwargs = {**call.kwargs, **call.added} if call.added else call.kwargs
        self.place: Place | None = None
        self._once = threading.Lock()
        self._pid = os.getpid()
        self._started_s = time.perf_counter()
        self._context: Context | None = None
        self._token: object = None

    @property
    def ended(self) -> bool:
        """Whether its end was recorded."""
        return self._once.locked()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._started_s

    @property
    def context(self) -> Context | None:
        """What is current while it runs; None where that is what was current before."""
        return self._context

    @property
    def times_chunks(self) -> bool:
        """Whether the time between the chunks of a stream is measured."""
        return False

    @property
    def takes_results(self) -> bool:
        """Whether anybody wants what comes of the call: else it is not read."""
        return True

    def fold(self) -> Fold | None:
        """Return a fold for the events of a stream, if the target has one and somebody wants what they amount to."""
        return self.target.fold() if self.target.fold is not None and self.takes_results else None

    def __enter__(self) -> Self:
        if self._context is not None:
            self._token = scope.enter(self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            scope.leave(self._token)
        if error is not None:
            self.failed(error)

    def settle(self, value: Any) -> Any:
        """Return what the caller gets for `value`, and see to it that the step ends."""
        try:
            if self.target.settle is not None:
                return self.target.settle(self, value)
            self.done(value)
        except Exception as error:  # noqa: BLE001 - ours: the caller gets the value
            report(f"reading what {self.target.name} returned", error)
            self.finish(None)
        return value

    def done(self, value: Any) -> None:
        """End with the value that the library returned."""
        result = None
        if self.target.response is not None and self.takes_results:
            with guard.of("reading what", self.target.name):
                result = self.target.response(value)
        self.finish(result)

    def failed(self, error: BaseException) -> None:
        """End with the exception that the library raised."""
        if is_cancellation(error):
            self.finish(None, stream="cancelled")
            return
        if (word := self._passes(error)) is not None:
            self.finish(None, closed_by=word)
            return
        failure = Failure(type(error).__name__)
        with guard.of("reading the failure of", self.target.name):
            failure = self.target.failure(error)
        result = None
        if self.target.answered is not None:
            with guard.of("reading what was answered to", self.target.name):
                result = self.target.answered(error)
        self.finish(result, failure, error)

    def _passes(self, error: BaseException) -> str | None:
        """Return the word for an exception by which the library passes control and reports no failure."""
        if not self.target.control_flow:
            return None
        names = (kind.__name__ for kind in type(error).__mro__)
        return next((self.target.control_flow[name] for name in names if name in self.target.control_flow), None)

    def finish(
        self,
        result: Any,
        failure: Failure | None = None,
        error: BaseException | None = None,
        **more: Any,
    ) -> None:
        """End once: whoever comes second changes nothing.

        Args:
            result: What came of it, as the target's reader gives it.
            failure: How it failed, where `result` does not say.
            error: The exception that says so.
            more: Further fields of `Outcome`.
        """
        if self._pid != os.getpid() or not self._once.acquire(blocking=False):
            return  # ended already, or begun in the process that forked this one, which ends it
        failure = failure or getattr(result, "failure", None)
        with guard.of("ending", self.target.name):
            self._end(result, Outcome(failure, error, duration_s=self.elapsed_s, **more))

    def _end(self, result: Any, outcome: Outcome) -> None:
        raise NotImplementedError


class SilentStep:
    """A model call that nobody records: its span is current, so that what is under it is not recorded either."""

    __slots__ = ("_token", "args", "context", "ended", "kwargs")

    def __init__(self, call: Call, here: Context, span: Span) -> None:
        self.args = call.args
        self.kwargs = call.kwargs
        self.ended = False
        self.context: Context | None = scope.owned(here, span, self)
        self._token: object = None

    def __enter__(self) -> None:
        if self.context is not None:
            self._token = scope.enter(self.context)

    def __exit__(self, *_error: object) -> None:
        if self._token is not None:
            scope.leave(self._token)
        self.done(None)

    def settle(self, value: Any) -> Any:
        """Return `value`."""
        return value

    def failed(self, _error: BaseException) -> None:
        """End."""
        self.done(None)

    def done(self, _value: Any) -> None:
        """End; its context names it as owner: a cycle, which only the garbage collector would end."""
        self.ended = True
        self.context = None


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception ends a call without being a failure: cancellation, or a coroutine closed."""
    return isinstance(error, GeneratorExit) or type(error).__name__ in CANCELLATIONS
