"""A tool's traceback as it is without callbacks: `ReAct` shows it to the model.

`with_callbacks` calls a tool on another line of its own when somebody listens. The text of the next request, and so its
key in DSPy's cache, would be another one for that alone.
"""

from __future__ import annotations

import inspect
import sys
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

_UNHEARD: Final[ContextVar[bool]] = ContextVar("nexus_otel_dspy_unheard", default=False)
_places: Final[dict[Any, tuple[int, int] | None]] = {}
"""Where a wrapper of `with_callbacks` calls when nobody listens, by its code: instruction and line."""


def is_unheard() -> bool:
    """Whether a call is made to see how it is without callbacks."""
    return _UNHEARD.get()


def unheard(error: BaseException) -> None:
    """Let the traceback of an exception of a tool be what it is when nobody listens, if nobody but us does.

    Args:
        error: The exception, which is on its way through the wrapper of `with_callbacks`.
    """
    package, first = sys.modules.get("dspy"), error.__traceback__
    if package is None or first is None or package.settings.get("callbacks"):
        return
    if getattr(first.tb_frame.f_locals.get("instance"), "callbacks", None):
        return
    last = first  # up to 3.1 the wrapper raises anew, and has two entries
    while last.tb_next is not None and last.tb_next.tb_frame is first.tb_frame:
        last = last.tb_next
    code = first.tb_frame.f_code
    if code not in _places:
        _places[code] = _place(code)
    if (place := _places[code]) is not None:
        error.__traceback__ = TracebackType(last.tb_next, first.tb_frame, *place)


def _place(code: Any) -> tuple[int, int] | None:
    """Return where a wrapper calls when nobody listens, as it is seen in a call that fails."""
    wrap = sys.modules["dspy.utils.callback"].with_callbacks
    work = wrap(_fail_async if code.co_flags & inspect.CO_COROUTINE else _fail)
    if work.__code__ is not code:
        return None
    token = _UNHEARD.set(True)
    try:
        made = work(_Alone())
        if made is not None:
            made.send(None)
    except _AloneError as error:
        entry = error.__traceback__.tb_next if error.__traceback__ is not None else None
        return (entry.tb_lasti, entry.tb_lineno) if entry is not None and entry.tb_frame.f_code is code else None
    finally:
        _UNHEARD.reset(token)
    return None


class _AloneError(Exception):
    """The call failed, as it should."""


class _Alone:
    """Something that nobody listens to."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []


def _fail(_self: Any) -> None:
    raise _AloneError


async def _fail_async(_self: Any) -> None:
    raise _AloneError
