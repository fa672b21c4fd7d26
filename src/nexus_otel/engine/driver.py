"""One life of a wrapped call: begin, value or error, end; the same for sync, async and streams."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span

from nexus_otel import config
from nexus_otel._guard import guard, report
from nexus_otel.engine import scope
from nexus_otel.engine.run import Place
from nexus_otel.engine.runs import Runs
from nexus_otel.engine.taps import tap_call
from nexus_otel.engine.target import BadCallError, Call, Fold, Target
from nexus_otel.genai.operations import (
    Conversation,
    Failure,
    Inference,
    InferenceResult,
    Outcome,
    Retry,
    ToolCall,
    ToolResult,
)
from nexus_otel.genai.plain import OneShotError
from nexus_otel.genai.recorder import Recorder

_FINDING: Final = guard("finding the run of a model call")
_KEEPING: Final = guard("keeping the run of a model call")

runs: Final = Runs()
"""The runs of this process: shared, for one loop may use several libraries."""


class Step:
    """A wrapped call that is recorded: current while it runs, ended exactly once."""

    __slots__ = ("_context", "_once", "_pid", "_started_s", "_token", "args", "call", "kwargs", "place", "target")

    def __init__(self, target: Target, call: Call) -> None:
        self.target = target
        self.call = call
        self.args = call.args
        self.kwargs = call.kwargs
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
        if self.target.response is not None:
            with guard.of("reading what", self.target.name):
                result = self.target.response(value)
        self.finish(result)

    def failed(self, error: BaseException) -> None:
        """End with the exception that the library raised."""
        if _is_control_flow(error):
            self.finish(None, stream="cancelled")
            return
        failure = Failure(type(error).__name__)
        with guard.of("reading the failure of", self.target.name):
            failure = self.target.failure(error)
        self.finish(None, failure, error)

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
            failure: How it failed.
            error: The exception that says so.
            more: Further fields of `Outcome`.
        """
        if self._pid != os.getpid() or not self._once.acquire(blocking=False):
            return  # ended already, or begun in the process that forked this one, which ends it
        with guard.of("ending", self.target.name):
            self._end(result, Outcome(failure, error, duration_s=self.elapsed_s, **more))

    def _end(self, result: Any, outcome: Outcome) -> None:
        raise NotImplementedError


class SilentStep:
    """A model call that nobody records: its span is current, so that what is under it is not recorded either."""

    __slots__ = ("_context", "_token", "args", "ended", "kwargs")

    def __init__(self, call: Call, here: Context, span: Span) -> None:
        self.args = call.args
        self.kwargs = call.kwargs
        self.ended = False
        self._context = scope.owned(here, span, self)
        self._token: object = None

    def __enter__(self) -> None:
        self._token = scope.enter(self._context)

    def __exit__(self, *_error: object) -> None:
        scope.leave(self._token)
        self.ended = True

    def settle(self, value: Any) -> Any:
        """Return `value`."""
        return value


class ModelStep(Step):
    """A model call."""

    __slots__ = ("_conversation", "operation", "recorder", "span")

    def __init__(self, recorder: Recorder, target: Target, call: Call, operation: Inference) -> None:
        super().__init__(target, call)
        self.recorder = recorder
        self.operation = operation
        self.span: Span = INVALID_SPAN
        self._conversation: Conversation | None = None

    def begin(self, here: Context, around: Context) -> Step | SilentStep:
        """Find the run, start the span; returns the step that the call is made in.

        Args:
            here: The context of the call.
            around: The same without the span that another instrumentation made for it.
        """
        operation, call = self.operation, self.call
        if config.current().infer_runs and not call.tapped and (operation.offers_tools or len(runs)):
            self._read()
            if self._conversation is not None:
                with _FINDING:
                    self.place = runs.join(self.recorder, operation, self._conversation, around)
        parent = here if self.place is None else self.place.context
        if operation.traces_itself:
            theirs = get_current_span(parent if around is here else here)
            self._context = scope.owned(here, theirs, self, claims=False)
            if self.place is not None and around is not here:
                self.recorder.link(self.place.run.span, theirs)
        else:
            self._start(parent)
            if self.place is None and not (self.span.is_recording() or self._is_wanted):
                return SilentStep(call, here, self.span)
            self._context = scope.owned(here, self.span, self)
        reads = operation.traces_itself or self.span.is_recording() or self.recorder.hands_on
        if self._conversation is None and not call.tapped and reads:
            self._read()
        return self

    @property
    def _is_wanted(self) -> bool:
        """Whether somebody wants what comes of the call though its span does not record."""
        return self.recorder.measures or self.recorder.hands_on

    def _start(self, parent: Context) -> None:
        try:
            self.span = self.recorder.start_inference(self.operation, parent)
        except Exception:
            if self.place is not None:
                runs.ended(self.place, None, None, {}, Outcome())
            raise

    def adopt(self, span: Span) -> bool:
        """Take the library's own span for this call's; False if there is one."""
        if self.span is not INVALID_SPAN:
            return False
        self.span = span
        with guard("describing a span of the library's own"):
            self.recorder.describe(span, self.operation)
        return True

    def _read(self) -> None:
        """Read what the model is given; where that can be done only once, keep what the library takes of it."""
        with guard.of("reading the request of", self.target.name):
            try:
                self._conversation = self.operation.conversation()
            except OneShotError:
                self.kwargs = tap_call(self.call)

    @property
    def times_chunks(self) -> bool:
        """Whether the time between the chunks of a stream is measured."""
        return self.recorder.measures

    def fold(self) -> Fold | None:
        """Return a fold for the answer's events, if the target has one."""
        return self.target.fold() if self.target.fold is not None else None

    def _end(self, result: InferenceResult | None, outcome: Outcome) -> None:
        if self.call.tapped and (self.span.is_recording() or self.recorder.hands_on):
            self._read()
        captured = self.recorder.end_inference(self.span, self.operation, self._conversation, result, outcome)
        if self.place is not None:
            with _KEEPING:
                runs.ended(self.place, self._conversation, result, captured, outcome)


class ToolStep(Step):
    """A tool's execution."""

    __slots__ = ("_tool", "recorder", "span")

    def __init__(self, recorder: Recorder, target: Target, call: Call, tool: ToolCall, here: Context) -> None:
        super().__init__(target, call)
        self.recorder = recorder
        self._tool = tool
        run = runs.claim(tool) if config.current().infer_runs else None
        parent = run.context if run is not None else here
        self.span: Span = recorder.start_tool(tool, parent, run.agent.name if run is not None else None)
        self._context = scope.current(here, self.span)

    def _end(self, result: ToolResult | None, outcome: Outcome) -> None:
        self.recorder.end_tool(self.span, self._tool, result, outcome)


class RetryStep(Step):
    """The wait of a provider's SDK between two tries of a model call."""

    __slots__ = ("_owner", "_retry")

    def __init__(self, target: Target, call: Call, retry: Retry, owner: ModelStep) -> None:
        super().__init__(target, call)
        self._owner = owner
        self._retry = retry

    def _end(self, _result: Any, outcome: Outcome) -> None:
        if outcome.failure is None and not self._owner.ended:
            self._owner.recorder.retry(self._owner.span, self._retry, self.elapsed_s)


def begin(recorder: Recorder, target: Target, call: Call) -> Step | SilentStep | None:
    """Return the step of a call, or None where the call is none of ours: it is then made plainly."""
    try:
        return _begin(recorder, target, call)
    except BadCallError:
        return None
    except Exception as error:  # noqa: BLE001 - ours: the call is made all the same
        report(f"reading a call of {target.name}", error)
        return None


def _begin(recorder: Recorder, target: Target, call: Call) -> Step | SilentStep | None:
    here = otel_context.get_current()
    if scope.suppressed(here):
        return None
    operation = target.request(call)
    owner = here.get(scope.OWNER)
    owned = isinstance(owner, Step | SilentStep) and not owner.ended
    around = scope.around(here, call.other)
    match operation:
        case Inference() if not owned and (around is not here or not scope.foreign_owner(here)):
            operation.traces_itself = operation.traces_itself or call.yields or scope.foreign_owner(here)
            return ModelStep(recorder, target, call, operation).begin(here, around)
        case ToolCall() if not scope.runs_tool(here, operation.name):
            return ToolStep(recorder, target, call, operation, here)
        case Retry() if isinstance(owner, ModelStep) and not owner.ended:
            return RetryStep(target, call, operation, owner)
    return None


CANCELLATIONS: Final = frozenset({"CancelledError", "Cancelled"})
"""Names of the exceptions by which asyncio, anyio and trio cancel."""


def _is_control_flow(error: BaseException) -> bool:
    """Whether an exception ends a call without being a failure: cancellation, or a coroutine closed."""
    return isinstance(error, GeneratorExit) or type(error).__name__ in CANCELLATIONS
