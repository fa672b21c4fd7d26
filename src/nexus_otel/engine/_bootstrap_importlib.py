"""The frames that stand in a caller's stack while a wrapped call runs.

`warnings.warn(stacklevel=n)` skips frames of files whose name holds both `importlib` and `_bootstrap` (the standard
library's `_is_internal_frame`, 3.11 to 3.14): with this name for the file, a warning that a library raises inside a
wrapped call is attributed to the line of the application, as it is without us.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Wrapper = Callable[[Any, Any, Any, Any], Any]
"""What wrapt calls: with the bound method, its instance, the arguments by position and by name."""


def calling(begin: Wrapper) -> Wrapper:
    """Return a wrapper that makes the call inside the step that `begin` gives, or plainly where it gives none."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        step = begin(wrapped, instance, args, kwargs)
        if step is None:
            return wrapped(*args, **kwargs)
        with step:
            value = wrapped(*step.args, **step.kwargs)
        return step.settle(value)

    return call


def calling_async(begin: Wrapper) -> Wrapper:
    """Return the same for a method that is awaited."""

    async def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        step = begin(wrapped, instance, args, kwargs)
        if step is None:
            return await wrapped(*args, **kwargs)
        with step:
            value = await wrapped(*step.args, **step.kwargs)
        return step.settle(value)

    return call


def calling_generator(begin: Wrapper, each: Callable[[Any, Any], Any]) -> Wrapper:
    """Return the same for a generator function: the step begins with the first `next`, as the function's body does.

    Args:
        begin: Gives the step.
        each: Given the step and the library's generator, runs it inside the step.
    """

    def run(generator: Any, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        step = begin(wrapped, instance, args, kwargs)
        return (yield from generator if step is None else each(step, generator))

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return run(wrapped(*args, **kwargs), wrapped, instance, args, kwargs)

    return call


def calling_async_generator(begin: Wrapper, each: Callable[[Any, Any], Any]) -> Wrapper:
    """Return the same for an async generator function."""

    async def run(generator: Any, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        step = begin(wrapped, instance, args, kwargs)
        source = generator if step is None else each(step, generator)
        try:
            item = await source.__anext__()
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - the reader's, for the library
                    item = await source.athrow(error)
                else:
                    item = await (source.__anext__() if sent is None else source.asend(sent))
        except StopAsyncIteration:
            return
        finally:
            await source.aclose()

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return run(wrapped(*args, **kwargs), wrapped, instance, args, kwargs)

    return call


def calling_later(prepare: Wrapper, defer: Callable[[Any, Any], Any]) -> Wrapper:
    """Return a wrapper for a method that makes its call later.

    Args:
        prepare: Gives the arguments for the library by name, and what begins the step when the call is made.
        defer: Given what begins the step and the value that the method returned, gives the caller's value.
    """

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        kwargs, start = prepare(wrapped, instance, args, kwargs)
        return defer(start, wrapped(*args, **kwargs))

    return call
