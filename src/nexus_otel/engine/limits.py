"""Limits that stop a run, only when they are asked for: the next model call is not sent and raises.

A limit is sticky: every retry or fallback of the run raises again, without any request (`contract.md` section 5).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.context import Context, create_key

from nexus_otel.config import Settings
from nexus_otel.engine.run import Run
from nexus_otel.genai.operations import Inference, InferenceResult
from nexus_otel.genai.prices import price_of

LIMITS: Final = create_key("nexus-otel-limits")
"""Context key of the limits of a block, in place of the settings'."""
_MAX_STOPPED: Final = 10_000


class AgentGuardError(RuntimeError):
    """A run was stopped: its next model call was not sent.

    Attributes:
        evidence: What led to it: `steps` and `tokens` so far, `limit`, the `sequence` of the last tools, and for a loop
            what the finding says.
    """

    def __init__(self, message: str, evidence: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.evidence = dict(evidence or {})


class StepLimitExceeded(AgentGuardError):  # noqa: N818 - the name that the documentation promises
    """The run has made as many model calls as it may."""


class TokenLimitExceeded(AgentGuardError):  # noqa: N818 - as above
    """The run has used as many tokens as it may."""


class CostLimitExceeded(AgentGuardError):  # noqa: N818 - as above
    """The run has cost as much as it may."""


class LoopDetected(AgentGuardError):  # noqa: N818 - as above
    """The run goes round in circles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may do.

    Attributes:
        max_steps: Model calls, those of sub-agents included.
        max_tokens: Input and output tokens.
        max_cost: US dollars.
        on_loop: warn, or raise at a loop that is certain.
    """

    max_steps: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    on_loop: str = "warn"

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return those of the settings."""
        return cls(
            max_steps=settings.max_steps,
            max_tokens=settings.max_tokens,
            max_cost=settings.max_cost,
            on_loop=settings.on_loop,
        )

    @property
    def count(self) -> bool:
        """Whether anything has to be counted."""
        return self.max_steps is not None or self.max_tokens is not None or self.max_cost is not None

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return self.count or self.on_loop == "raise"


_read: tuple[Settings, Limits] | None = None


def limits_of(context: Context, settings: Settings) -> Limits:
    """Return the limits in force in a context."""
    global _read  # noqa: PLW0603 - one process, one reading of the settings
    given = context.get(LIMITS)
    if isinstance(given, Limits):
        return given
    if _read is None or _read[0] is not settings:
        _read = (settings, Limits.of(settings))
    return _read[1]


@dataclass(slots=True)
class Stopped:
    """The traces that were stopped, with why; bounded."""

    _errors: OrderedDict[int, AgentGuardError] = field(default_factory=OrderedDict)

    def stop(self, trace_id: int, error: AgentGuardError) -> None:
        """Stop a trace; the first reason holds."""
        self._errors.setdefault(trace_id, error)
        while len(self._errors) > _MAX_STOPPED:
            self._errors.popitem(last=False)

    def forget(self, trace_id: int) -> None:
        """Forget a trace whose run is over."""
        self._errors.pop(trace_id, None)

    def why(self, trace_id: int) -> AgentGuardError | None:
        """Return why a trace was stopped, if it was."""
        return self._errors.get(trace_id) if self._errors else None


stopped: Final = Stopped()


def exceeded(run: Run, limits: Limits) -> AgentGuardError | None:
    """Return the error for a model call that a run must not make; None where it may.

    Args:
        run: The run that the call belongs to; the outermost one counts.
        limits: What it may do. Its steps have counted the call already.
    """
    whole = outermost(run)
    trace_id = whole.span.get_span_context().trace_id
    if (why := stopped.why(trace_id)) is not None:
        # a new one each time: an exception that is raised twice would gather the traceback of both
        return type(why)(str(why), why.evidence) if limits.any else None
    if not limits.count:
        return None
    whole.priced = whole.priced or limits.max_cost is not None
    error = _over(whole, limits)
    if error is not None:
        stopped.stop(trace_id, error)
    return error


def outermost(run: Run) -> Run:
    """Return the run that a run is part of, at the top."""
    *_, whole = run.upwards()
    return whole


def _over(run: Run, limits: Limits) -> AgentGuardError | None:
    totals = run.totals
    tokens = (totals.input_tokens or 0) + (totals.output_tokens or 0)
    done = {"agent": run.agent.name, "steps": totals.steps - 1, "tokens": tokens, "sequence": _sequence(run)}
    if limits.max_steps is not None and totals.steps > limits.max_steps:
        return StepLimitExceeded(
            f"the run of {run.agent.name} has made {limits.max_steps} model calls, its limit "
            f"(max_steps, NEXUS_MAX_STEPS)",
            {**done, "limit": limits.max_steps},
        )
    if limits.max_tokens is not None and tokens >= limits.max_tokens:
        return TokenLimitExceeded(
            f"the run of {run.agent.name} has used {tokens} tokens; its limit is {limits.max_tokens} "
            f"(max_tokens, NEXUS_MAX_TOKENS)",
            {**done, "limit": limits.max_tokens},
        )
    if limits.max_cost is not None and totals.cost is not None and totals.cost >= limits.max_cost:
        return CostLimitExceeded(
            f"the run of {run.agent.name} has cost ${totals.cost:.4f}; its limit is ${limits.max_cost:g} "
            f"(max_cost, NEXUS_MAX_COST)",
            {**done, "cost": totals.cost, "limit": limits.max_cost},
        )
    return None


def _sequence(run: Run) -> Sequence[str]:
    return list(run.recent)


def charge(run: Run, operation: Inference, result: InferenceResult) -> None:
    """Add what a model call cost to its run and those that it is part of, where a limit asks for it."""
    if not outermost(run).priced:
        return
    cost = price_of(operation.provider, result.model or operation.model, result.usage)
    for above in run.upwards() if cost is not None else ():
        above.totals.cost = (above.totals.cost or 0.0) + (cost or 0.0)
