"""Where we reach into DSPy: its callbacks, and the threads of its executor."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from nexus_otel.engine.listener import carried
from nexus_otel.instrumentors._dspy_frames import is_unheard

_IN_ITEM: Final[ContextVar[bool]] = ContextVar("nexus_otel_dspy_item", default=False)

# -- callbacks ---------------------------------------------------------------------------------------------------------


class Listened:
    """The package as the module of callbacks sees it: its settings hold our callback after those of the user.

    `with_callbacks` asks `dspy.settings.get("callbacks", [])` at each call, in every version from 2.5 to 3.4. Only that
    module sees it: what the user configures, reads and hands on is untouched.
    """

    def __init__(self, package: Any, callback: Any) -> None:
        self._package = package
        self._callback = callback
        self.settings = _Settings(package, callback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._package, name)


class _Settings:
    def __init__(self, package: Any, callback: Any) -> None:
        self._package = package
        self._callback = callback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._package.settings, name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting, as the package's own do."""
        found = self._package.settings.get(name, default)
        if name != "callbacks":
            return found
        return [] if is_unheard() else [*(found or ()), self._callback]


def cancellation(outputs: Any) -> BaseException | None:
    """Return the exception that is passing though the library did not tell: before 3.4 it tells only `Exception`s."""
    passing = sys.exception() if outputs is None else None
    return passing if passing is not None and not isinstance(passing, Exception) else None


def of_streams() -> dict[str, bool]:
    """Return whether answers of models are handed on in pieces here, and whether their tokens are asked for then."""
    package = sys.modules.get("dspy")
    if package is None or package.settings.get("send_stream") is None:
        return {"streamed": False}
    return {"streamed": True, "asks_for_usage": bool(package.settings.get("track_usage"))}


# -- batches -----------------------------------------------------------------------------------------------------------


def in_item() -> bool:
    """Whether we are in an item of a batch."""
    return _IN_ITEM.get()


def carrying(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let the items of an executor begin in the context of whoever started it: its threads lose it."""

    @functools.wraps(original)
    def executing(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        inner = carried(function)

        @functools.wraps(function)
        def one(*given: Any, **named: Any) -> Any:
            token = _IN_ITEM.set(True)
            try:
                return inner(*given, **named)
            finally:
                _IN_ITEM.reset(token)

        return original(self, one, *args, **kwargs)

    return executing
