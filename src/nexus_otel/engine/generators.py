"""Generators of a library: their step is current whenever they run, and never while their reader does."""

from __future__ import annotations

from typing import Any

from nexus_otel.engine import scope
from nexus_otel.engine.steps import SilentStep, Step
from nexus_otel.engine.streams import CLOSED, Watch, watched


def inside(step: Step | SilentStep, generator: Any) -> Within | WithinAsync:
    """Return what a generator gives, run inside its step, which ends with it."""
    watch = Watch(step) if isinstance(step, Step) else None
    seen = watched(generator, watch) if watch is not None else generator
    kind = WithinAsync if hasattr(generator, "__anext__") else Within
    return kind(step, generator, seen, watch)


class _Within:
    """What the two colours share."""

    __slots__ = ("_generator", "_seen", "_step", "_watch")

    def __init__(self, step: Step | SilentStep, generator: Any, seen: Any, watch: Watch | None) -> None:
        self._step = step
        self._generator = generator
        self._seen = seen
        self._watch = watch

    def _enter(self) -> object:
        context = self._step.context
        return scope.enter(context) if context is not None else None

    def _leave(self, token: object) -> None:
        if token is not None:
            scope.leave(token)

    def _ended(self) -> None:
        if self._watch is not None:
            self._watch.stopped(CLOSED)
        else:
            self._step.done(None)

    def _failed(self, error: BaseException) -> None:
        if self._watch is not None:
            self._watch.failed(error)


class Within(_Within):
    """A generator inside its step."""

    __slots__ = ()

    def __iter__(self) -> Within:
        return self

    def __next__(self) -> Any:
        token = self._enter()
        try:
            return next(self._seen)
        finally:
            self._leave(token)

    def send(self, value: Any) -> Any:
        """Resume it with a value."""
        token = self._enter()
        try:
            return self._generator.send(value)
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            self._leave(token)

    def throw(self, error: BaseException) -> Any:
        """Raise an exception in it."""
        token = self._enter()
        try:
            return self._generator.throw(error)
        except BaseException as raised:
            self._failed(raised)
            raise
        finally:
            self._leave(token)

    def close(self) -> None:
        """Close it."""
        token = self._enter()
        try:
            self._generator.close()
        finally:
            self._leave(token)
            self._ended()


class WithinAsync(_Within):
    """An async generator inside its step."""

    __slots__ = ()

    def __aiter__(self) -> WithinAsync:
        return self

    async def __anext__(self) -> Any:
        token = self._enter()
        try:
            return await self._seen.__anext__()
        finally:
            self._leave(token)

    async def asend(self, value: Any) -> Any:
        """Resume it with a value."""
        token = self._enter()
        try:
            return await self._generator.asend(value)
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            self._leave(token)

    async def athrow(self, error: BaseException) -> Any:
        """Raise an exception in it."""
        token = self._enter()
        try:
            return await self._generator.athrow(error)
        except BaseException as raised:
            self._failed(raised)
            raise
        finally:
            self._leave(token)

    async def aclose(self) -> None:
        """Close it."""
        token = self._enter()
        try:
            await self._generator.aclose()
        finally:
            self._leave(token)
            self._ended()
