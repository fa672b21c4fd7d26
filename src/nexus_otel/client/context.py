"""`with nexus_otel.context(...)`: who, where and which version, on every span that begins inside."""

from __future__ import annotations

import contextvars
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import wrapt
from opentelemetry import context as otel_context
from opentelemetry.context import create_key

from nexus_otel._guard import guard
from nexus_otel.engine import scope
from nexus_otel.genai import metadata as meta

_THREADS: Final = create_key("nexus-otel-threads")


class context:  # noqa: N801 - used like a function
    """Give metadata to every span that begins inside, those of frameworks and other instrumentations included.

    Works with `with` and `async with`, and nests: the inner value of a name wins.

    Args:
        threads: Whether work that is handed to a `ThreadPoolExecutor` or a `Thread` inside takes the context along.
        metadata: `user_id`, `session_id`, `conversation_id`, `environment`, `agent_version`, `git_sha`, `tags` and
            anything else, of any type. What looks like a secret is not recorded.
    """

    def __init__(self, *, threads: bool = False, **metadata: Any) -> None:
        self._threads = threads
        self._metadata = metadata
        self._tokens: list[object] = []

    def __enter__(self) -> Self:
        token: object = None
        with guard("giving metadata to spans"):
            here = otel_context.get_current()
            here = meta.carried(meta.added(here, meta.current().attributes(self._metadata)), self._metadata)
            if self._threads:
                _follow_threads()
                here = otel_context.set_value(_THREADS, True, here)
            token = scope.enter(here)
        self._tokens.append(token)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token = self._tokens.pop()
        if token is not None:
            scope.leave(token)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


_patching: Final = threading.Lock()
_patched = False


def _follow_threads() -> None:
    """Let thread pools and threads that are used inside a block with `threads=True` run in the context of their use."""
    global _patched  # noqa: PLW0603 - once per process
    with _patching:
        if _patched:
            return
        _patched = True
        ThreadPoolExecutor.submit = wrapt.FunctionWrapper(ThreadPoolExecutor.submit, _submit)  # type: ignore[method-assign,assignment]
        threading.Thread.start = wrapt.FunctionWrapper(threading.Thread.start, _start)  # type: ignore[method-assign]


def _submit(submit: Any, _pool: Any, args: Any, kwargs: Any) -> Any:
    if otel_context.get_value(_THREADS):
        return submit(contextvars.copy_context().run, *args, **kwargs)
    return submit(*args, **kwargs)


def _start(start: Any, thread: Any, args: Any, kwargs: Any) -> Any:
    if otel_context.get_value(_THREADS):
        thread.run = functools.partial(contextvars.copy_context().run, thread.run)
    return start(*args, **kwargs)
