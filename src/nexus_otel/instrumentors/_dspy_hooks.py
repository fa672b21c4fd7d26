"""Where we reach into DSPy: its callbacks, what a model call came to, the threads of its executor."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from nexus_otel._guard import guard
from nexus_otel.engine.listener import carried
from nexus_otel.engine.steps import Step
from nexus_otel.genai.plain import item

_IN_ITEM: Final[ContextVar[bool]] = ContextVar("nexus_otel_dspy_item", default=False)
_notes: Final[dict[str, Note | None]] = {}
"""What is known of the model calls that are open, by the id of the call."""


@dataclass(frozen=True, slots=True)
class Note:
    """What DSPy knows of a model call's answer and does not tell its callbacks.

    Attributes:
        response: The provider's, as an object of LiteLLM, of DSPy's own client or of the user's.
        outputs: What DSPy took of it: texts, or dicts with `text`, `tool_calls` and the like; None: not known here.
        usage: Its tokens; empty where it came from DSPy's cache.
        model: The model that answered.
        cached: Whether it came from DSPy's cache.
        responses: All responses, where DSPy made several requests for several answers.
    """

    response: Any
    outputs: Any
    usage: Any
    model: Any
    cached: bool
    responses: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How something ended, for the reader of its result: the step, what was returned, what else is known."""

    step: Step
    outputs: Any
    note: Note | None = None


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
        return [*(found or ()), self._callback] if name == "callbacks" else found


def active() -> str | None:
    """Return the id of the call in which we are: the library hands it on to its threads."""
    module = sys.modules.get("dspy.utils.callback")
    return module.ACTIVE_CALL_ID.get() if module is not None else None


def cancellation(outputs: Any) -> BaseException | None:
    """Return the exception that is passing though the library did not tell: before 3.4 it tells only `Exception`s."""
    passing = sys.exception() if outputs is None else None
    return passing if passing is not None and not isinstance(passing, Exception) else None


def is_streamed() -> bool:
    """Whether the answers of models are handed on in pieces here."""
    package = sys.modules.get("dspy")
    return package is not None and package.settings.get("send_stream") is not None


# -- what a model call came to -----------------------------------------------------------------------------------------


def expect(call_id: str) -> None:
    """Keep what will be known of a model call, until `noted` takes it."""
    _notes[call_id] = None


def noted(call_id: str) -> Note | None:
    """Take what is known of a model call; of one inside another of the same call, the outer takes it too."""
    note = _notes.pop(call_id, None)
    outer = active()
    if note is not None and outer is not None and outer in _notes:
        _notes[outer] = note
    return note


def _note(response: Any, outputs: Any, usage: Any, model: Any, cached: Any, responses: Any = ()) -> None:
    with guard("reading what a model call came to"):
        call_id = active()
        if call_id is not None and call_id in _notes:
            _notes[call_id] = Note(response, outputs, usage, model, bool(cached), tuple(responses))


def noting_response(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note the response that `BaseLM._process_lm_response` is given (to 3.3)."""

    @functools.wraps(original)
    def processing(self: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        _note(response, None, item(response, "usage"), item(response, "model"), item(response, "cache_hit"))
        return original(self, response, *args, **kwargs)

    return processing


def noting_result(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note the result that `dspy.clients.execution.finalize` is given (from 3.4)."""

    @functools.wraps(original)
    def finalizing(lm: Any, call: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        found = [item(result, name) for name in ("outputs", "usage", "response_model", "cache_hit")]
        responses = item(result, "responses") or ()
        raw = item(result, "raw")
        _note(next(iter(responses), None) if raw is None else raw, *found, responses)
        return original(lm, call, result, *args, **kwargs)

    return finalizing


def noting_entry(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note the entry of a history, of a model class that has its own way to it."""

    @functools.wraps(original)
    def updating(self: Any, entry: Any, *args: Any, **kwargs: Any) -> Any:
        if _notes.get(active() or "") is None:
            response = item(entry, "response")
            outputs, usage, model = (item(entry, name) for name in ("outputs", "usage", "response_model"))
            _note(response, outputs, usage, model, item(response, "cache_hit"))
        return original(self, entry, *args, **kwargs)

    return updating


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
