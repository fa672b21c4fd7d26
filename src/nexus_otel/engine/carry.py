"""Methods that a library runs in a thread of its own without the context in which it asked for them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from nexus_otel.engine import scope


def carried(original: Callable[..., Any]) -> Carried:
    """Return a method that runs in the context in which it was looked up, where it is run in none.

    `threading.Thread(target=self.work)` and `executor.submit(self.work)` look it up in the caller's context.
    """
    return Carried(original)


class Carried:
    """A method in the place of one that is handed to threads."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original
        functools.update_wrapper(cast("Any", self), original)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        bound = self._original.__get__(instance, owner)
        here = otel_context.get_current()
        return bound if instance is None or not here else functools.update_wrapper(_within(here, bound), bound)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._original(*args, **kwargs)


def _within(context: Context, bound: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if otel_context.get_current():
            return bound(*args, **kwargs)
        token = scope.enter(context)
        try:
            return bound(*args, **kwargs)
        finally:
            scope.leave(token)

    return run
