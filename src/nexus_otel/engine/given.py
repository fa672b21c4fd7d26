"""Runs that a library makes: it names them, and says when they begin and end."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link

from nexus_otel._guard import guard
from nexus_otel.engine.run import Run, agent_name, was_recorded
from nexus_otel.engine.scope import under_agent
from nexus_otel.genai.operations import AgentResult, AgentRun, Failure, Outcome
from nexus_otel.genai.recorder import Recorder


class GivenRuns:
    """Those of this process that are open."""

    def __init__(self) -> None:
        self._open: dict[int, Run] = {}

    def open(self, recorder: Recorder, agent: AgentRun, ambient: Context, base: Context, parent: Run | None) -> Run:
        """Return a run that begins now.

        Args:
            recorder: Records it.
            agent: What is run.
            ambient: The context of the call.
            base: The parent of its span.
            parent: The run that it is part of.
        """
        agent.name = agent.name or agent_name()
        here = trace.get_current_span(ambient).get_span_context()
        links: list[Link] = []
        if agent.apart and here.is_valid:
            base, links = trace.set_span_in_context(trace.INVALID_SPAN, ambient), [Link(here)]
        span = recorder.start_agent(agent, base, links)
        run = Run(agent, recorder, span, base, here, 0, 0, time.time_ns(), parent, given=True)
        run.context = under_agent(base, span, run, infers=agent.workflow)
        self._open[id(run)] = run
        if agent.conversation is not None:
            with guard("reading what an agent was given"):
                run.totals.content.update(recorder.captured(span, agent.conversation(), ()))
        return run

    def close(self, run: Run, result: AgentResult | None, outcome: Outcome) -> None:
        """End a run, once.

        Args:
            run: As `open` gave it.
            result: What came of it.
            outcome: How it ended.
        """
        if run.closed or self._open.pop(id(run), None) is None:
            return
        run.closed = True
        totals = run.totals
        totals.closed_by = outcome.closed_by or outcome.stream or totals.closed_by
        if result is not None:
            totals.closed_by = result.closed_by or totals.closed_by
            totals.finish_reasons = result.finish_reasons or totals.finish_reasons
            run.agent.conversation_id = result.conversation_id or run.agent.conversation_id
            totals.content.update(run.recorder.captured(run.span, None, result.output))
        failure = outcome.failure or (result.failure if result is not None else None)
        if failure is not None:
            failure = Failure(failure.type)  # what else is said of it is on the span where it happened
        exception = None if was_recorded(run.error, outcome.exception) else outcome.exception
        run.error = None
        ended: dict[str, Any] = {"duration_s": outcome.duration_s, "end_ns": outcome.end_ns}
        run.recorder.end_agent(run.span, run.agent, totals, Outcome(failure, exception, **ended))

    def __iter__(self) -> Any:
        return iter(reversed(list(self._open.values())))
