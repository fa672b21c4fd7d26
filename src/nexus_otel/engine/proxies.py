"""Stream managers and streams of a kind that we do not know: watched from outside, by proxies.

The way of last resort, where a library was changed or another wrapper stands between: a proxy passes `isinstance`, but
helpers that run on the inner object are not seen until it is closed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import wrapt

from nexus_otel._guard import guard
from nexus_otel.engine.driver import ModelStep
from nexus_otel.engine.steps import CANCELLATIONS, SilentStep, Step
from nexus_otel.engine.streams import ABANDONED, CANCELLED, CLOSED

Start = Callable[[], Step | SilentStep | None]


class ManagerProxy(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A stream manager whose request is a step of its own when it is entered."""

    def __init__(self, manager: Any, start: Start) -> None:
        super().__init__(manager)
        self._self_start = start
        self._self_stream: StreamProxy | None = None

    def __enter__(self) -> Any:
        step = self._self_start()
        if not isinstance(step, ModelStep):
            return self.__wrapped__.__enter__()
        with step:
            stream = self.__wrapped__.__enter__()
        self._self_stream = StreamProxy(stream, step)
        return self._self_stream

    def __exit__(self, *raised: object) -> Any:
        suppressed = self.__wrapped__.__exit__(*raised)
        self._self_ended(raised[1])
        return suppressed

    async def __aenter__(self) -> Any:
        step = self._self_start()
        if not isinstance(step, ModelStep):
            return await self.__wrapped__.__aenter__()
        with step:
            stream = await self.__wrapped__.__aenter__()
        self._self_stream = StreamProxy(stream, step)
        return self._self_stream

    async def __aexit__(self, *raised: object) -> Any:
        suppressed = await self.__wrapped__.__aexit__(*raised)
        self._self_ended(raised[1])
        return suppressed

    def _self_ended(self, raised: object) -> None:
        error = raised if isinstance(raised, BaseException) else None
        if self._self_stream is not None:
            self._self_stream._self_end(error, CLOSED)


class StreamProxy(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A stream whose message is read from its own snapshot when it ends."""

    def __init__(self, stream: Any, step: ModelStep) -> None:
        super().__init__(stream)
        self._self_step = step

    def __iter__(self) -> Any:
        iterator = iter(self.__wrapped__)
        try:
            yield from iterator
        except BaseException as error:
            self._self_end(error, None)
            raise
        self._self_end(None, None)

    def __next__(self) -> Any:
        try:
            return next(self.__wrapped__)
        except StopIteration:
            self._self_end(None, None)
            raise
        except BaseException as error:
            self._self_end(error, None)
            raise

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.__wrapped__.__anext__()
        except StopAsyncIteration:
            self._self_end(None, None)
            raise
        except BaseException as error:
            self._self_end(error, None)
            raise

    def close(self) -> Any:
        """Close the stream."""
        self._self_end(sys.exception(), CLOSED)
        return self.__wrapped__.close()

    async def aclose(self) -> Any:
        """Close the async stream."""
        self._self_end(sys.exception(), CLOSED)
        return await self.__wrapped__.aclose()

    def _self_end(self, error: BaseException | None, how: str | None) -> None:
        step = self._self_step
        if step.ended:
            return
        if isinstance(error, GeneratorExit):
            error, how = None, ABANDONED
        elif type(error).__name__ in CANCELLATIONS:
            error, how = None, CANCELLED
        result = None
        with guard.of("reading the stream of", step.target.name):
            snapshot = getattr(self.__wrapped__, "current_message_snapshot", None)
            result = step.target.response(snapshot) if step.target.response and snapshot is not None else None
        if error is not None:
            step.failed(error)
        else:
            step.finish(result, stream=how)
