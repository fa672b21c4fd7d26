"""Traces and spans that a person begins and ends: plain objects that may be awaited, and context managers."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from nexus_otel import semconv
from nexus_otel._guard import guard, logger, note_once
from nexus_otel.client import describing
from nexus_otel.client.recording import recording
from nexus_otel.engine import scope
from nexus_otel.engine.driver import AgentStep, DetailStep, ModelStep, ToolStep
from nexus_otel.engine.run import given_run
from nexus_otel.engine.steps import SilentStep, Step
from nexus_otel.engine.streams import at_end
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai import metadata as meta
from nexus_otel.genai.operations import (
    AgentRun,
    Conversation,
    Detail,
    Inference,
    InferenceResult,
    Message,
    ToolCall,
)
from nexus_otel.genai.plain import to_json

_TARGET: Final = Target(module=__name__, name="a manual span", request=lambda _call: None)
_NOTHING: Final = Call(None, None, (), {})


class _Done:
    """What ending gives: nothing, awaited or not."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


_DONE: Final = _Done()


class Handle:
    """What traces and spans share: an end that counts once, `await`, `with` and `async with`."""

    def __init__(self, step: Step | SilentStep | None, above: Handle | None) -> None:
        self._step = step
        self._above = above
        self._before: Context = otel_context.get_current()
        self._below: dict[int, Span] = {}
        self._left: list[Any] = []
        self._is_ended = False
        self._mine: Any = None
        if step is not None and step.context is not None:
            self._mine = get_current_span(step.context)  # a step that has ended has no context
            scope.enter(step.context)

    def __del__(self) -> None:
        """End what its owner lets go of without ending it."""
        if not self._is_ended and isinstance(self._step, Step):
            with guard("ending a span that nobody ended"):
                _forgotten(self._step)

    def __await__(self) -> Generator[Any, Any, Self]:
        yield from ()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ended:
            return
        if error is None:
            self.end()
        else:
            self._end(error=error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def span(self) -> Any:
        """The OpenTelemetry span, to set further attributes on."""
        return getattr(self._step, "span", None) or get_current_span(Context())

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hex digits: what `nexus-otel show` takes."""
        return f"{self.span.get_span_context().trace_id:032x}"

    def start_span(self, name: str, metadata: Mapping[str, Any] | None = None) -> Span:
        """Start a span inside this one and return at once; it is current until it ends.

        Args:
            name: What it is. `llm-call` is a model call, `agent-step` or `step` a step.
            metadata: What is known of it. `tool` makes it a tool's execution (with `input` as its arguments), `model` a
                model call; the rest is recorded as it is, secrets left out.
        """
        step: Step | SilentStep | None = None
        with guard("starting a span"):
            step = _span_step(name, dict(metadata or {}), self._here())
        return Span(step, self)

    def add_span(
        self,
        name: str,
        *,
        input: Any = None,  # noqa: A002 - the published name
        output: Any = None,
        error: Any = None,
    ) -> Span:
        """Add a span of something that is over.

        Args:
            name: What it is, as for `start_span`.
            input: What it was given.
            output: What came of it.
            error: How it failed: then it is an error.
        """
        given = {} if input is None else {"input": input}
        span = self.start_span(name, given)
        said = output if error is None else {**(output if isinstance(output, Mapping) else {}), "error": str(error)}
        span.end(status="success" if error is None else "error", output=said)
        return span

    def end(self, status: str = "success", output: Any = None) -> _Done:
        """End it and return at once. A second end changes nothing and is told once.

        Args:
            status: success, error or timeout. Another word is recorded as it is.
            output: What came of it, of any type. Of a model call `input_tokens`, `output_tokens`, `message_count`; of
                a tool `result` or `result_preview`; of a failure `error`.
        """
        if self._is_ended:
            note_once("ended twice", "nexus-otel: a span was ended twice; the first end counts")
            return _DONE
        self._end(status, output)
        return _DONE

    def _end(self, status: str = "success", output: Any = None, error: BaseException | None = None) -> None:
        self._is_ended = True
        with guard("ending a span"):
            for span in reversed(list(self._below.values())):
                span._unended()
            if isinstance(self._step, Step):
                if error is not None:
                    self._step.failed(error)
                else:
                    self._finish(self._step, describing.status_of(status), output)
            elif self._step is not None:
                self._step.done(None)
        self._leave()

    def _finish(self, step: Step, status: str, output: Any) -> None:
        raise NotImplementedError

    def _unended(self) -> None:
        """End with what is around it: nobody did."""
        self._is_ended = True
        with guard("ending a span that nobody ended"):
            for span in reversed(list(self._below.values())):
                span._unended()
            if isinstance(self._step, Step):
                _forgotten(self._step)
        self._leave()

    def _leave(self) -> None:
        if self._above is not None:
            self._above._below.pop(id(self), None)
        if self._mine is None:
            return
        with guard("leaving a span"):
            mine = [self._mine, *self._left]
            current = get_current_span()
            if any(current is span for span in mine):
                scope.enter(self._before)
            elif self._above is not None:  # ended from elsewhere: whoever is around it leaves it too
                self._above._left += mine

    def _here(self) -> Context:
        """Return the context of what begins inside this: the current one where that is in this trace, with this on top.

        What was added to the current context since, such as metadata, stays.
        """
        own = self._step.context if self._step is not None else None
        current = otel_context.get_current()
        if own is None or current is own:
            return current
        ids = get_current_span(own).get_span_context(), get_current_span(current).get_span_context()
        return scope.on_top(current, own) if ids[0].trace_id == ids[1].trace_id else own


class Span(Handle):
    """A span that a person begins and ends."""

    def __init__(self, step: Step | SilentStep | None, above: Handle) -> None:
        super().__init__(step, above)
        above._below[id(self)] = self

    def _finish(self, step: Step, status: str, output: Any) -> None:
        failure = describing.failure_of(status, output)
        step_span = getattr(step, "span", None)
        if step_span is not None:
            step_span.set_attribute(semconv.STATUS, status)
        match step:
            case ToolStep():
                step.tool.arguments = step.tool.arguments or describing.tool_arguments(output)
                step.finish(describing.tool_result(output, failure), failure)
            case ModelStep():
                step.finish(describing.model_result(output), failure)
            case DetailStep():
                result = describing.detail_result(output)
                if describing.is_model_call(output) and not step.holds_model_calls:
                    _become_model_call(step, describing.model_result(output))
                step.finish(result, failure)


class Trace(Handle):
    """One run of an agent, which a person begins and ends: a trace, or a part of the one that is there."""

    def __init__(self, step: Step | SilentStep | None, above: Handle | None) -> None:
        super().__init__(step, above)
        _open.add(self)

    def _finish(self, step: Step, status: str, output: Any) -> None:
        self.span.set_attribute(semconv.STATUS, status)
        step.finish(describing.run_result(output), describing.failure_of(status, output))


def start_trace(
    agent: str | None, name: str, metadata: Mapping[str, Any] | None, route: tuple[str, Any] | None = None
) -> Trace:
    """Start a run; a run of a person's that is still open in this context does not hold it.

    Args:
        agent: The agent's name; None: the service's.
        name: What the run is called.
        metadata: What is known of it.
        route: A context key and its value, by which its trace goes somewhere of its own.
    """
    step: AgentStep | None = None
    with guard("starting a trace"):
        step = _trace_step(agent, name, dict(metadata or {}), route)
    return Trace(step, None)


def _trace_step(agent: str | None, name: str, metadata: dict[str, Any], route: tuple[str, Any] | None) -> AgentStep:
    recorder = recording.explicit()
    asked = metadata.pop("input", None)
    here = meta.carried(otel_context.get_current(), metadata)
    here = meta.added(here, meta.current().attributes(metadata))
    if route is not None:
        here = otel_context.set_value(*route, here)
    above = given_run(here)
    run = AgentRun(
        agent,
        metadata.get("conversation_id"),
        description=metadata.get("description"),
        conversation=(lambda: _asked(asked)) if asked is not None else None,
        apart=route is not None or (above is not None and above.agent.subject == _MANUAL),
        subject=_MANUAL,
    )
    step = AgentStep(recorder, _TARGET, _NOTHING, run, here)
    step.span.set_attribute(semconv.NAME, name)
    return step


_MANUAL: Final = -1
"""The subject of every run that a person begins."""


def _asked(asked: Any) -> Conversation:
    text = asked if isinstance(asked, str) else to_json(asked)
    return Conversation([Message("user", [{"type": "text", "content": text}])])


def _span_step(name: str, metadata: dict[str, Any], here: Context) -> Step | SilentStep:
    recorder = recording.explicit()
    operation, own, rest = describing.described(name, metadata)
    attributes = own | meta.current().attributes(rest)
    step: Step | SilentStep
    match operation:
        case ToolCall():
            step = ToolStep(recorder, _TARGET, _NOTHING, operation, here)
        case Inference():
            step = ModelStep(recorder, _TARGET, _NOTHING, operation).begin(here)
        case Detail():
            step = DetailStep(recorder, _TARGET, _NOTHING, operation, here)
    if isinstance(step, ToolStep | ModelStep | DetailStep):
        step.span.set_attributes(attributes)
    return step


def _become_model_call(step: DetailStep, result: InferenceResult | None) -> None:
    """Describe as a model call what only its output reveals to be one; no model call beneath has these tokens."""
    if result is None:
        return
    operation = Inference(describing.OTHER, result.model, dict, describing.nothing_read)
    step.recorder.describe_whole(step.span, operation, result)
    run = step.run
    if run is not None:
        for above in run.upwards():
            above.totals.steps += 1
            above.totals.add(result.usage)


# -- what nobody ended -------------------------------------------------------------------------------------------------

_open: weakref.WeakSet[Trace] = weakref.WeakSet()


def _forgotten(step: Step) -> None:
    if step.ended:
        return
    span = getattr(step, "span", None)
    if span is not None and span.is_recording():
        span.set_attribute(semconv.UNENDED, True)
    logger.debug("nexus-otel: a span was never ended")
    step.finish(None)


def _end_open() -> None:
    for trace in list(_open):
        if not trace._is_ended:
            trace._unended()


at_end.append(_end_open)
