"""`with nexus_otel.limits(...)`: what a run inside may do before its next model call raises."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from opentelemetry import context as otel_context

from nexus_otel.config import NexusError
from nexus_otel.engine import scope
from nexus_otel.engine.limits import LIMITS, Limits


class limits:  # noqa: N801 - used like a function
    """Limit the runs inside. Works with `with` and `async with`; an inner block's limits hold in place of the outer's.

    Args:
        max_steps: Model calls of a run, those of sub-agents included.
        max_tokens: Input and output tokens of a run.
        max_cost: US dollars of a run; needs the extra `cost`.
        on_loop: warn, or raise at a loop that is certain.

    Raises:
        NexusError: An argument has none of its values.
    """

    def __init__(
        self,
        *,
        max_steps: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        on_loop: str = "warn",
    ) -> None:
        for name, value in (("max_steps", max_steps), ("max_tokens", max_tokens), ("max_cost", max_cost)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
                raise NexusError(f"limits({name}={value!r}): expected a number above 0, or None")
        if on_loop not in {"warn", "raise"}:
            raise NexusError(f"limits(on_loop={on_loop!r}): expected warn, raise")
        self._limits = Limits(max_steps=max_steps, max_tokens=max_tokens, max_cost=max_cost, on_loop=on_loop)
        self._tokens: list[object] = []

    def __enter__(self) -> Self:
        self._tokens.append(scope.enter(otel_context.set_value(LIMITS, self._limits)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope.leave(self._tokens.pop())

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
