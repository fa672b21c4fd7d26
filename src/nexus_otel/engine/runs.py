"""Agent runs inferred from the model calls of hand-written loops: which call belongs to which run.

A run opens at the first model call that offers tools with no agent above it, and goes on with every call that answers
what its model asked for, by the ids of the tool calls. Fake and caching providers repeat ids: where one id is open in
several runs, the message prefix decides, then the very objects handed back, the task or thread, the client, and last
the order in which they were asked.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link

from nexus_otel import config, semconv
from nexus_otel._guard import guard, new_lock, note_once, start_thread
from nexus_otel.engine.given import GivenRuns
from nexus_otel.engine.limits import stopped
from nexus_otel.engine.run import (
    Awaited,
    Place,
    Request,
    Run,
    Seat,
    agent_name,
    derive,
    given_run,
    has_agent,
    has_prefix,
    owning_run,
    same_ambient,
    signature_of,
    this_task,
)
from nexus_otel.engine.run_table import RunTable
from nexus_otel.engine.scope import SEAT
from nexus_otel.genai.measure import extended
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Conversation,
    Failure,
    Inference,
    InferenceResult,
    Outcome,
    Part,
    ToolCall,
    answered_calls,
)
from nexus_otel.genai.recorder import Recorder

_SWEEP_S: Final = 5.0
_GIVEN: Final = (semconv.INPUT_MESSAGES, semconv.SYSTEM_INSTRUCTIONS)


_last_run: ContextVar[weakref.ref[Run] | None] = ContextVar("nexus_otel_last_run", default=None)
"""The run of the last model call in this task or thread."""


class Runs:
    """The table of open runs of this process. Re-entrant: a collected stream may end a call at any point."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._table = RunTable()
        self._given = GivenRuns()
        self._sweeper: threading.Thread | None = None
        self._pid = os.getpid()
        self._registered = False

    def __len__(self) -> int:
        return len(self._table) if self._pid == os.getpid() else 0

    # -- a model call begins -------------------------------------------------------------------------------------------

    def join(
        self, recorder: Recorder, operation: Inference, conversation: Conversation, ambient: Context
    ) -> Place | None:
        """Return where a model call belongs, in a run opened now if it is the first; None for a call of no run.

        Args:
            recorder: Records the run, if it is opened here.
            operation: The call.
            conversation: What the model was given.
            ambient: The context of the call.
        """
        request = Request(operation, conversation, ambient)
        now_ns = time.time_ns()
        owning = owning_run(ambient)
        with self._lock:
            self._check_process()
            run = owning
            if run is None and config.current().infer_runs:
                run = self._continued(request) or self._opened(recorder, request)
            if run is None:
                return self._aside(request)
            self._answer(run, request.answers, now_ns)
            self._advance(run, request)
        if owning is not None:
            return Place(run, ambient)
        reference = weakref.ref(run)
        _last_run.set(reference)
        if isinstance(seat := ambient.get(SEAT), Seat):
            seat.run = reference
        return Place(run, run.context)

    @staticmethod
    def left(seat: Seat) -> None:
        """Tell the caller of a method that has ended which run the model calls in it belong to."""
        if seat.run is not None:
            _last_run.set(seat.run)

    def inform(self, place: Place, conversation: Conversation) -> None:
        """Take what a call that began was given, where that is known only now."""
        with self._lock:
            if not place.run.closed and not place.aside:
                self._answer(place.run, answered_calls(conversation.messages or ()), time.time_ns())

    def _continued(self, request: Request) -> Run | None:
        candidates = [run for run in self._candidates(request) if same_ambient(run, request.here)]
        if len(candidates) < 2:  # noqa: PLR2004 - nothing to decide
            return candidates[0] if candidates else None
        last = _last_of_this_task()

        def likeness(run: Run) -> tuple[bool, ...]:
            same_list = run.history == request.operation.history
            return (
                has_prefix(run, request.prefixes),
                same_list,
                run is last,
                run.client == request.operation.client,
            )

        return max(candidates, key=likeness)

    def _candidates(self, request: Request) -> list[Run]:
        found = self._table.awaiting(str(answer.get("id")) for answer in request.answers)
        if found:
            return found
        if request.conversation.continues is not None:
            return self._table.after(request.conversation.continues)
        return self._same_history(request)

    def _same_history(self, request: Request) -> list[Run]:
        """Return the runs of this task that wait for another try, or whose model's questions were passed over."""
        for length in range(len(request.prefixes), 0, -1):
            longer = length < len(request.prefixes)
            found = [
                run
                for run in self._table.sent(request.prefixes[length - 1])
                if run.in_flight <= 0
                and (run.resumable or longer)
                and (run.task == request.task or run.history == request.operation.history)
            ]
            again = [run for run in found if run.resumable]
            if again or len(found) == 1:
                return again or found
        return []

    def _opened(self, recorder: Recorder, request: Request) -> Run | None:
        conversation = request.conversation
        if not conversation.tools or not conversation.opens_run or has_agent(request.ambient):
            return None
        signature = signature_of(conversation)
        parent = self._awaiting_parent(request.here, signature)
        base = request.ambient if parent is None else _under(parent, request.ambient)
        parent = parent or given_run(request.ambient)
        agent = AgentRun(agent_name())
        span = recorder.start_agent(agent, base, self._links(request))
        start_ns = getattr(span, "start_time", None) or time.time_ns()
        ambient = request.here
        context = trace.set_span_in_context(span, request.ambient)
        run = Run(agent, recorder, span, context, ambient, request.operation.client, signature, start_ns, parent)
        run.task = request.task
        if parent is not None:
            parent.nested = [other for other in parent.nested if not other.closed]
            parent.nested.append(run)
        for old in self._table.add(run):
            if self._table.is_full:
                note_once("open runs", "nexus-otel: too many agent runs are open; the least active are closed")
            self._close(old, "limit")
        self._at_exit()
        self._watch()
        return run

    def _aside(self, request: Request) -> Place | None:
        """Return the place of a call that a tool of a run makes meanwhile, or a workflow; None where there is none."""
        asks = bool(request.conversation.tools) and request.conversation.opens_run
        run = (None if asks else self._awaiting_parent(request.here, None)) or given_run(request.ambient)
        if run is None:
            return None
        for above in run.upwards():
            above.totals.steps += 1
        return Place(run, _under(run, request.ambient), aside=True)

    def _awaiting_parent(self, here: trace.SpanContext, signature: int | None) -> Run | None:
        """Return the run of this task that waits for its tools: a model call made meanwhile is one of theirs.

        Not one with the same instructions and tools: that is the same agent, asked anew.
        """
        run = _last_of_this_task()
        if run is None or run.closed or not run.waiting or run.signature == signature:
            return None
        return run if same_ambient(run, here) else None

    def _links(self, request: Request) -> list[Link]:
        """Return a link to the finished run that this conversation went on from, if it is remembered."""
        keys: list[Any] = [("call", answer.get("id")) for answer in request.answers]
        keys.append(("response", request.conversation.continues))
        keys += [("prefix", prefix) for prefix in reversed(request.prefixes[:-1])]
        elsewhere = self._table.awaiting(str(answer.get("id")) for answer in request.answers)
        found = elsewhere[0].span.get_span_context() if elsewhere else self._table.finished(keys)
        return [Link(found)] if found is not None else []

    def _advance(self, run: Run, request: Request) -> None:
        self._table.request(run, request.prefixes)
        run.history = request.operation.history
        run.in_flight += 1
        run.resumable = run.waiting = False
        run.failed = None
        run.last_ns = time.time_ns()
        for above in run.upwards():
            above.totals.steps += 1

    def _answer(self, run: Run, answers: Sequence[Part], now_ns: int) -> None:
        for answer in answers:
            awaited = self._table.answer(run, str(answer.get("id")))
            if awaited is None:
                continue
            if not (run.given and awaited.executed):  # counted when it was executed
                run.count_tool_call()
            if not awaited.executed:
                with guard("deriving a tool span"):
                    derive(run, awaited, answer, now_ns)

    def refuse(self, place: Place, error: BaseException) -> None:
        """Take it that a call was not made: a guard stopped its run, which has failed for it."""
        with self._lock:
            for above in place.run.upwards():
                above.totals.steps -= 1
            if not place.aside:
                place.run.in_flight -= 1
            place.run.failed, place.run.resumable = Failure(type(error).__name__, str(error)), True

    # -- a model call ends ---------------------------------------------------------------------------------------------

    def ended(
        self,
        place: Place,
        conversation: Conversation | None,
        result: InferenceResult | None,
        captured: Mapping[str, Any],
        outcome: Outcome,
    ) -> None:
        """Take what came of a model call of a run: it waits for answers, waits for another try, or is finished.

        Args:
            place: Where the call stands.
            conversation: What the model was given.
            result: What it answered, if it did.
            captured: The content that was captured of both.
            outcome: How the call ended.
        """
        run, now_ns = place.run, time.time_ns()
        with self._lock:
            if run.closed or self._pid != os.getpid():
                return
            run.last_ns = now_ns
            if result is not None:
                for above in run.upwards():
                    above.totals.add(result.usage)
            if place.aside:
                return
            run.in_flight -= 1
            _keep(run, captured)
            if result is not None:
                self._take(run, conversation, result, now_ns)
            if outcome.failure is not None:
                run.failed, run.resumable = outcome.failure, True
            elif outcome.stream is not None or (result is not None and "pause" in result.finish_reasons):
                run.resumable = True
            elif not run.waiting and run.in_flight <= 0 and not run.given:
                self._close(run, None)
            self._leave(run.upwards())

    def _take(self, run: Run, conversation: Conversation | None, result: InferenceResult, now_ns: int) -> None:
        run.totals.finish_reasons = result.finish_reasons
        if conversation is not None and conversation.tools:
            run.tools = {str(tool.get("name")): tool.get("parameters") for tool in conversation.tools}
        self._table.respond(run, result.id)
        run.answered = extended(run.prefix, result.output[0]) if result.output else 0
        for above in run.upwards():
            above.recent.extend(asked.name for asked in result.calls)
        for asked in result.calls:
            if asked.id is not None:
                known = asked.name in run.tools if run.tools else None
                awaited = Awaited(asked, now_ns, known, run.tools.get(asked.name))
                self._table.ask(run, asked.id, awaited)
        run.waiting = bool(result.calls or run.awaited)

    # -- tools that run where we see them ------------------------------------------------------------------------------

    def claim(self, call: ToolCall, ambient: Context) -> Run | None:
        """Return the run that a tool's execution belongs to, and give the call what is known of it from the model.

        Args:
            call: The execution.
            ambient: Its context.
        """
        owning = owning_run(ambient)
        run = owning or self._asking(call, ambient)
        if run is None or run.closed:
            return None
        with self._lock:
            found = run.asked_for(call)
            if found is None and owning is None:
                return None
            if found is not None:
                found.executed = True
                call.id, call.known = found.asked.id, call.known if found.known is None else found.known
                call.schema = call.schema or found.schema
            if owning is not None:
                run.count_tool_call()
            return run

    def _asking(self, call: ToolCall, ambient: Context) -> Run | None:
        """Return the inferred run that asked for a call: this task's last, else the one that waits for it here.

        A library may make its model calls in contexts of their own, of which this one knows nothing.
        """
        if not config.current().infer_runs:
            return None
        run = _last_of_this_task()
        if run is not None and not run.closed and run.awaited:
            return run
        here = trace.get_current_span(ambient).get_span_context()
        if call.id is not None:
            found = [run for run in self._table.awaiting([call.id]) if same_ambient(run, here)]
            return found[0] if len(found) == 1 else None
        around = given_run(ambient)
        near = around.nested if around is not None else self._table.of_task(this_task())
        return next((run for run in near if not run.closed and same_ambient(run, here) and run.asked_for(call)), None)

    # -- runs that a library makes -------------------------------------------------------------------------------------

    def open(self, recorder: Recorder, agent: AgentRun, ambient: Context) -> Run:
        """Return a run that a library begins now, in the context `ambient`; it ends when `close` is called."""
        here = trace.get_current_span(ambient).get_span_context()
        with self._lock:
            self._check_process()
            asking = self._awaiting_parent(here, None) if owning_run(ambient) is None else None
            parent = asking or given_run(ambient)
            base = ambient if asking is None else _under(asking, ambient)
            run = self._given.open(recorder, agent, ambient, base, None if agent.apart else parent)
        self._at_exit()
        return run

    def close(self, run: Run, result: AgentResult | None, outcome: Outcome) -> None:
        """End a run that a library made, with what came of it and how it ended."""
        with self._lock:
            if self._pid != os.getpid():
                return
            for nested in run.nested:
                self._close(nested, "parent")
            self._given.close(run, result, outcome)
        if run.parent is None:
            stopped.forget(run.span.get_span_context().trace_id)

    # -- ending runs ---------------------------------------------------------------------------------------------------

    def _close(self, run: Run, why: str | None) -> None:
        if run.closed:
            return
        run.closed = True
        for nested in run.nested:
            self._close(nested, "parent")
        self._table.remove(run)
        run.totals.closed_by = why
        end_ns = max(run.last_ns, run.start_ns)
        outcome = Outcome(run.failed, None, duration_s=(end_ns - run.start_ns) / 1e9, end_ns=end_ns)
        run.recorder.end_agent(run.span, run.agent, run.totals, outcome)
        if run.parent is None:
            stopped.forget(run.span.get_span_context().trace_id)

    def close_under(self, span_id: int) -> None:
        """End the runs whose ambient parent has ended."""
        if self._table.under(span_id):
            with self._lock:
                for run in self._table.under(span_id):
                    self._close(run, "parent")

    def close_idle(self, idle_s: float) -> None:
        """End the runs without activity for `idle_s` seconds."""
        limit_ns = time.time_ns() - int(idle_s * 1e9)
        with self._lock:
            for run in self._table:
                if run.last_ns < limit_ns and run.in_flight <= 0:
                    self._close(run, "idle")

    def close_resting(self) -> None:
        """End every open run, those with calls under way when these have ended: the instrumentation is taken off."""
        with self._lock:
            open_now = list(self._table) if self._pid == os.getpid() else []
            for run in open_now:
                run.leaving = True
            self._leave(open_now)

    def _leave(self, runs: Iterable[Run]) -> None:
        for run in runs:
            if run.leaving and run.resting:
                self._close(run, "exit")

    def close_all(self) -> None:
        """End every open run: the process ends."""
        with self._lock:
            if self._pid != os.getpid():
                self._check_process()
                return
            for run in self._table:
                self._close(run, "exit")
            for run in self._given:
                self.close(run, None, Outcome(duration_s=(time.time_ns() - run.start_ns) / 1e9, closed_by="exit"))

    def _at_exit(self) -> None:
        """End what is open at the exit, before providers that exist by now shut down: last in, first out."""
        if not self._registered:
            self._registered = True
            atexit.register(self.close_all)

    def _check_process(self) -> None:
        """Forget the runs of the parent process in a forked child: they are not ours to end."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._table = RunTable()
        self._given = GivenRuns()
        self._sweeper = None

    def _watch(self) -> None:
        if self._sweeper is None or not self._sweeper.is_alive():
            self._sweeper = start_thread("nexus-otel-runs", _sweep, weakref.ref(self))


def _keep(run: Run, captured: Mapping[str, Any]) -> None:
    """Keep the first input and the last output for the run's root."""
    content = run.totals.content
    if run.totals.steps <= 1 and content.keys().isdisjoint(_GIVEN):
        content.update({name: captured[name] for name in _GIVEN if name in captured})
    if semconv.OUTPUT_MESSAGES in captured:
        content[semconv.OUTPUT_MESSAGES] = captured[semconv.OUTPUT_MESSAGES]


def _sweep(runs: weakref.ref[Runs]) -> None:
    """End idle runs from time to time, as long as there are any."""
    idle_s = config.current().run_idle_s
    while True:
        time.sleep(min(_SWEEP_S, idle_s))
        table = runs()
        if table is None or not len(table):
            if table is not None:
                table._sweeper = None
            return
        with guard("ending idle runs"):
            table.close_idle(idle_s)
        del table


def _under(run: Run, ambient: Context) -> Context:
    """Return the parent of what a tool of `run` does: the span around it where there is one of the run's trace."""
    here = trace.get_current_span(ambient).get_span_context()
    if here.trace_id == run.span.get_span_context().trace_id:
        return ambient
    return trace.set_span_in_context(run.span, ambient)


def _last_of_this_task() -> Run | None:
    reference = _last_run.get()
    run = reference() if reference is not None else None
    while run is not None and run.closed and run.parent is not None:
        run = run.parent
    return run
