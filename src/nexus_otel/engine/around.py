"""Steps that make no span: what the calls in them need to know of the one around them."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context

from nexus_otel.engine import scope
from nexus_otel.engine.run import Seat
from nexus_otel.engine.steps import Step
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.operations import Outcome


class BatchStep(Step):
    """Items that are run side by side: no span, only what the runs among them need to know."""

    __slots__ = ()

    def __init__(self, target: Target, call: Call, here: Context) -> None:
        super().__init__(target, call)
        self._context = scope.in_batch(here)

    def _end(self, result: object, outcome: Outcome) -> None:
        pass


class PassageStep(Step):
    """A method around model calls that are made in tasks of its own: no span, its caller knows of their run."""

    __slots__ = ("_left", "_seat")

    def __init__(self, target: Target, call: Call, here: Context, left: Callable[[Seat], None]) -> None:
        super().__init__(target, call)
        self._left = left
        self._seat = Seat()
        self._context = scope.seated(here, self._seat)

    @property
    def takes_results(self) -> bool:
        """What it returns is not read."""
        return False

    def _end(self, result: object, outcome: Outcome) -> None:  # noqa: ARG002 - nothing is recorded of it
        self._left(self._seat)
