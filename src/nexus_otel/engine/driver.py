"""Which step a wrapped call is, and what each kind of step records of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Self

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span

from nexus_otel import config, semconv
from nexus_otel._guard import guard, report
from nexus_otel.engine import scope
from nexus_otel.engine.around import BatchStep, PassageStep
from nexus_otel.engine.handed import running_step
from nexus_otel.engine.inner import Seen, completed, remarked
from nexus_otel.engine.limits import AgentGuardError, charge, exceeded, limits_of
from nexus_otel.engine.run import Run, given_run, owning_run
from nexus_otel.engine.runs import Runs
from nexus_otel.engine.steps import SilentStep, Step
from nexus_otel.engine.taps import tap_call
from nexus_otel.engine.target import BadCallError, Call, Target
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Batch,
    Conversation,
    Detail,
    DetailResult,
    Inference,
    InferenceResult,
    Operation,
    Outcome,
    Passage,
    Remark,
    Retrieval,
    RetrievalResult,
    Retry,
    RetryResult,
    ToolCall,
    ToolResult,
)
from nexus_otel.genai.plain import OneShotError
from nexus_otel.genai.recorder import Recorder

_FINDING: Final = guard("finding the run of a model call")
_KEEPING: Final = guard("keeping the run of a model call")

runs: Final = Runs()
"""The runs of this process: shared, for one loop may use several libraries."""


class ModelStep(Step):
    """A model call."""

    __slots__ = ("_conversation", "_inner", "_remarks", "operation", "recorder", "span")

    def __init__(self, recorder: Recorder, target: Target, call: Call, operation: Inference) -> None:
        super().__init__(target, call)
        self.recorder = recorder
        self.operation = operation
        self.span: Span = INVALID_SPAN
        self._conversation: Conversation | None = None
        self._inner: Sequence[Seen] = ()
        self._remarks: Sequence[InferenceResult] = ()

    def begin(self, here: Context, around: Context | None = None) -> Step | SilentStep:
        """Find the run, start the span; returns the step that the call is made in.

        Args:
            here: The context of the call.
            around: The same without the span that another instrumentation made for it, if one did.
        """
        operation, call = self.operation, self.call
        around = around or here
        if not call.tapped and self._may_join(here):
            self._read()
            if self._conversation is not None:
                with _FINDING:
                    self.place = runs.join(self.recorder, operation, self._conversation, around)
        self._check(here)
        parent = here if self.place is None else self.place.context
        if operation.traces_itself:
            theirs = get_current_span(parent if around is here else here)
            self._context = scope.owned(here, theirs, self, claims=False)
            if self.place is not None and around is not here:
                self.recorder.link(self.place.run.span, theirs)
        else:
            self._start(parent, here)
            if self.place is None and not (self.span.is_recording() or self._is_wanted):
                return SilentStep(call, here, self.span)
            self._context = scope.owned(here, self.span, self)
        reads = operation.traces_itself or self.span.is_recording() or self.recorder.hands_on
        if self._conversation is None and not call.tapped and reads:
            self._read()
        return self

    def _may_join(self, here: Context) -> bool:
        """Whether it may belong to a run: there is one that a library makes, or its messages have to tell."""
        if self.operation.embeds:
            return False
        if (given := given_run(here)) is not None:
            return given.span.is_recording() or limits_of(here, config.current()).any
        return config.current().infer_runs and (self.operation.offers_tools or len(runs) > 0)

    def _check(self, here: Context) -> None:
        """Refuse a call that its run must not make any more.

        Raises:
            AgentGuardError: A limit of the run is reached.
        """
        if self.place is None:
            return
        error = exceeded(self.place.run, limits_of(here, config.current()))
        if error is not None:
            runs.refuse(self.place, error)
            raise error

    @property
    def _is_wanted(self) -> bool:
        """Whether somebody wants what comes of the call though its span does not record."""
        return self.recorder.measures or self.recorder.hands_on

    def _start(self, parent: Context, here: Context) -> None:
        run = self.place.run if self.place is not None else given_run(here)
        if run is not None and self.operation.conversation_id is None:
            self.operation.conversation_id = run.agent.conversation_id
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

    @property
    def was_told(self) -> bool:
        """Whether it knows what the model was given."""
        return self._conversation is not None and self._conversation.messages is not None

    def learn(self, conversation: Conversation) -> None:
        """Take what the model was given from a library beneath."""
        self._conversation = conversation
        if self.place is not None:
            runs.inform(self.place, conversation)

    def know(self, seen: Seen) -> None:
        """Take what a library beneath saw of this call."""
        self._inner = (*self._inner, seen)

    def hear(self, said: InferenceResult) -> None:
        """Take what the library says of this call in passing."""
        self._remarks = (*self._remarks, said)

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

    def _end(self, result: InferenceResult | None, outcome: Outcome) -> None:
        self._context = None  # it names this step as owner: a cycle, which only the garbage collector would end
        if self.call.tapped and (self.span.is_recording() or self.recorder.hands_on):
            self._read()
        operation = self.operation
        if self._remarks and outcome.failure is None:
            result = remarked(result, self._remarks)
        if self._inner:
            with guard("reading what a library beneath saw"):
                operation, result, outcome = completed(operation, result, outcome, self._inner)
                self.recorder.describe(self.span, operation)
        captured = self.recorder.end_inference(self.span, operation, self._conversation, result, outcome)
        if self.place is not None:
            self.place.run.note(outcome.exception)
            with _KEEPING:
                if result is not None:
                    charge(self.place.run, operation, result)
                runs.ended(self.place, self._conversation, result, captured, outcome)


class InnerStep(ModelStep):
    """A model call as a library beneath makes it, on behalf of another that owns it: no span, only what it knows."""

    __slots__ = ("_owner",)

    def __init__(self, recorder: Recorder, target: Target, call: Call, operation: Inference, owner: ModelStep) -> None:
        super().__init__(recorder, target, call, operation)
        self._owner = owner

    def inside(self, context: Context) -> Self:
        """Make `context` current while it runs: where the owner cannot be current itself."""
        self._context = context
        return self

    def begin(self, here: Context, around: Context | None = None) -> Step | SilentStep:  # noqa: ARG002 - the owner's
        """Read what the owner does not know."""
        if not self._owner.was_told and (self._owner.span.is_recording() or self._owner.place is not None):
            self._read()
            if self._conversation is not None:
                self._owner.learn(self._conversation)
        return self

    def _end(self, result: InferenceResult | None, outcome: Outcome) -> None:
        if not self._owner.ended:
            self._owner.know(Seen(self.operation, result, outcome))


class ToolStep(Step):
    """A tool's execution."""

    __slots__ = ("_met", "_run", "recorder", "span", "tool")

    def __init__(self, recorder: Recorder, target: Target, call: Call, tool: ToolCall, here: Context) -> None:
        super().__init__(target, call)
        self.recorder = recorder
        self.tool = tool
        self._run: Run | None = runs.claim(tool, here)
        inferred = self._run is not None and not self._run.given
        parent = self._run.context if self._run is not None and inferred else here
        run = self._run or given_run(here)
        self.span: Span = recorder.start_tool(tool, parent, run.agent if run is not None else None)
        self._context = scope.under_tool(here, self.span, self)
        self._met: BaseException | None = None

    def hear(self, error: BaseException | None) -> None:
        """Take what the library says of this execution in passing: the exception that it keeps for itself."""
        self._met = error

    @property
    def takes_results(self) -> bool:
        """Whether the span is recorded, or a meter takes whether it failed."""
        return self.span.is_recording() or self.recorder.measures

    def _end(self, result: ToolResult | None, outcome: Outcome) -> None:
        if self._met is not None and outcome.failure is None and outcome.stream is None:
            with guard.of("reading the failure of", self.target.name):
                outcome = replace(outcome, failure=self.target.failure(self._met), exception=self._met)
            result = replace(result, is_error=True) if result is not None else None
        self.recorder.end_tool(self.span, self.tool, result, outcome)
        if self._run is not None:
            self._run.note(outcome.exception)


class AgentStep(Step):
    """A run of an agent or a workflow, as a library makes it, or a person."""

    __slots__ = ("run",)

    @property
    def span(self) -> Span:
        """The root of the run."""
        return self.run.span

    def __init__(self, recorder: Recorder, target: Target, call: Call, agent: AgentRun, here: Context) -> None:
        super().__init__(target, call)
        agent.apart = agent.apart or bool(here.get(scope.APART))
        self.run = runs.open(recorder, agent, here)
        self._context = self.run.context

    @property
    def takes_results(self) -> bool:
        """Whether the span is recorded, or a meter takes whether it failed."""
        return self.span.is_recording() or self.run.recorder.measures

    def _end(self, result: AgentResult | None, outcome: Outcome) -> None:
        runs.close(self.run, result, outcome)


class RetrievalStep(Step):
    """A search in a store of documents."""

    __slots__ = ("_operation", "_run", "recorder", "span")

    def __init__(self, recorder: Recorder, target: Target, call: Call, operation: Retrieval, here: Context) -> None:
        super().__init__(target, call)
        self.recorder = recorder
        self._operation = operation
        self._run = given_run(here)
        self.span: Span = recorder.start_retrieval(operation, here)
        self._context = scope.current(here, self.span)

    @property
    def takes_results(self) -> bool:
        """Whether the span is recorded, or a meter takes whether it failed."""
        return self.span.is_recording() or self.recorder.measures

    def _end(self, result: RetrievalResult | None, outcome: Outcome) -> None:
        self.recorder.end_retrieval(self.span, self._operation, result, outcome)
        if self._run is not None:
            self._run.note(outcome.exception)


class DetailStep(Step):
    """A step that is neither a model's nor a tool's."""

    __slots__ = ("_steps_before", "recorder", "run", "span")

    def __init__(self, recorder: Recorder, target: Target, call: Call, operation: Detail, here: Context) -> None:
        super().__init__(target, call)
        self.recorder = recorder
        self.run = given_run(here)
        self._steps_before = self.run.totals.steps if self.run is not None else 0
        self.span: Span = recorder.start_detail(operation, here)
        self._context = scope.current(here, self.span)

    @property
    def holds_model_calls(self) -> bool:
        """Whether the run has made model calls since it began."""
        return self.run is not None and self.run.totals.steps > self._steps_before

    def _end(self, result: DetailResult | None, outcome: Outcome) -> None:
        self.recorder.end_detail(self.span, result, outcome)
        if self.run is not None:
            self.run.note(outcome.exception)


class RetryStep(Step):
    """The wait of a provider's SDK between two tries of a model call, or the choice of how long it will be."""

    __slots__ = ("_owner", "_retry")

    def __init__(self, target: Target, call: Call, retry: Retry, owner: ModelStep) -> None:
        super().__init__(target, call)
        self._owner = owner
        self._retry = retry

    def _end(self, result: RetryResult | None, outcome: Outcome) -> None:
        if outcome.failure is None and not self._owner.ended:
            wait_s = self.elapsed_s if result is None else result.wait_s
            self._owner.recorder.retry(self._owner.span, self._retry, wait_s)


def begin(recorder: Recorder, target: Target, call: Call, here: Context | None = None) -> Step | SilentStep | None:
    """Return the step of a call, or None where the call is none of ours: it is then made plainly.

    Args:
        recorder: Records it.
        target: What is called.
        call: The call.
        here: Its context, where that is not the current one.

    Raises:
        AgentGuardError: A limit was set, and the run of this model call has reached it.
    """
    try:
        return _begin(recorder, target, call, otel_context.get_current() if here is None else here)
    except BadCallError:
        return None
    except AgentGuardError:
        raise  # asked for: the call must not be made
    except Exception as error:  # noqa: BLE001 - ours: the call is made all the same
        report(f"reading a call of {target.name}", error)
        return None


def _begin(recorder: Recorder, target: Target, call: Call, here: Context) -> Step | SilentStep | None:
    if scope.suppressed(here):
        return None
    operation = target.request(call)
    match operation:
        case Inference():
            return _model_step(recorder, target, call, operation, here)
        case ToolCall() if not scope.runs_tool(here, operation.name):
            return ToolStep(recorder, target, call, operation, here)
        case AgentRun() if not _is_part(operation, here):
            return AgentStep(recorder, target, call, operation, here)
        case Retry() if (owner := _owner(here)) is not None and isinstance(owner, ModelStep):
            return RetryStep(target, call, operation, owner)
    return _other_step(recorder, target, call, operation, here)


def _other_step(
    recorder: Recorder, target: Target, call: Call, operation: Operation | None, here: Context
) -> Step | None:
    match operation:
        case Batch() if given_run(here) is None:
            return BatchStep(target, call, here)
        case Passage() if not here.get(scope.SEAT) and owning_run(here) is None and _owner(here) is None:
            return PassageStep(target, call, here, runs.left)
        case Retrieval() if not (operation.outermost and scope.runs(here, semconv.RETRIEVAL)):
            return RetrievalStep(recorder, target, call, operation, here)
        case Detail() if operation.asked or config.current().detail == "full":
            return DetailStep(recorder, target, call, operation, here)
        case Remark():
            tell(operation, here)
    return None


def tell(remark: Remark, here: Context) -> None:
    """Give what a library says in passing to the step that it is about, if that is open."""
    match remark.result:
        case InferenceResult():
            if isinstance(owner := _owner(here), ModelStep):
                owner.hear(remark.result)
        case ToolResult():
            tool = here.get(scope.TOOL)
            if isinstance(tool, ToolStep) and not tool.ended:
                tool.hear(remark.error)
        case AgentResult():
            if (run := given_run(here)) is not None:
                run.totals.closed_by = remark.result.closed_by


def _model_step(
    recorder: Recorder, target: Target, call: Call, operation: Inference, here: Context
) -> Step | SilentStep | None:
    owner, inside = _owner(here), None
    if owner is None and (owner := running_step()) is not None and owner.context is not None:
        inside = scope.on_top(here, owner.context)
    if owner is None or (isinstance(owner, ModelStep) and owner.operation.embeds != operation.embeds):
        around = scope.around(here, call.other)
        foreign = scope.foreign_owner(here)
        if foreign and around is here:
            return None
        operation.traces_itself = operation.traces_itself or call.yields or foreign
        return ModelStep(recorder, target, call, operation).begin(here, around)
    if isinstance(owner, ModelStep) and owner.recorder is not recorder:
        step = InnerStep(recorder, target, call, operation, owner)
        return (step if inside is None else step.inside(inside)).begin(here)
    return None


def _owner(here: Context) -> Step | SilentStep | None:
    """Return the open model call that the work in a context is part of."""
    owner = here.get(scope.OWNER)
    return owner if isinstance(owner, Step | SilentStep) and not owner.ended else None


def _is_part(agent: AgentRun, here: Context) -> bool:
    """Whether a run is no run of its own: the one above by another of its methods, or noise inside another."""
    above = given_run(here)
    if above is None:
        return False
    within = get_current_span(here) is above.span
    if within and agent.subject != 0 and agent.subject == above.agent.subject:
        return True
    return agent.outermost and not agent.apart
