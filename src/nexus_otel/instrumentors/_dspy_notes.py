"""What a model call of DSPy came to: tokens, finish reasons, ids, which DSPy does not tell its callbacks."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nexus_otel._guard import guard
from nexus_otel.engine.steps import Step
from nexus_otel.genai.plain import item


@dataclass(frozen=True, slots=True)
class Note:
    """What DSPy knows of a model call's answer.

    Attributes:
        responses: The provider's, as objects of LiteLLM, of DSPy's own client or of the user's; one a request.
        outputs: What DSPy took of them: texts, or dicts with `text`, `tool_calls` and the like; None: not known here.
        usage: The tokens of all of them.
        model: The model that answered.
        cached: Whether it came from DSPy's cache.
    """

    responses: Sequence[Any]
    outputs: Any
    usage: Any
    model: Any
    cached: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """How something ended, for the reader of its result: the step, what was returned, what else is known."""

    step: Step
    outputs: Any
    note: Note | None = None


_notes: Final[dict[str, Note | None]] = {}
"""Of the model calls that are open, by the id of the call."""


def active() -> str | None:
    """Return the id of the call in which we are: the library hands it on to its threads."""
    module = sys.modules.get("dspy.utils.callback")
    return module.ACTIVE_CALL_ID.get() if module is not None else None


_refused: Final[dict[str, Exception]] = {}
"""Why a model call must not be made: what a callback raises, DSPy logs and passes over."""


def refuse(call_id: str, error: Exception) -> None:
    """Let a model call fail before it is made."""
    _refused[call_id] = error


def _check() -> None:
    if _refused and (error := _refused.pop(active() or "", None)) is not None:
        raise error


def refusing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function by which every model call begins raise for one that must not be made."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def begin_async(*args: Any, **kwargs: Any) -> Any:
            _check()
            return await original(*args, **kwargs)

        return begin_async

    @functools.wraps(original)
    def begin(*args: Any, **kwargs: Any) -> Any:
        _check()
        return original(*args, **kwargs)

    return begin


def expect(call_id: str) -> None:
    """Keep what will be known of a model call, until `noted` takes it."""
    _notes[call_id] = None


def is_noting() -> bool:
    """Whether we are in a model call that DSPy told of."""
    return active() in _notes


def noted(call_id: str) -> Note | None:
    """Take what is known of a model call; of one inside another of the same call, the outer takes it too."""
    note = _notes.pop(call_id, None)
    _refused.pop(call_id, None)
    outer = active()
    if note is not None and outer is not None and outer in _notes:
        _notes[outer] = note
    return note


def _note(read: Callable[[Any], Note], told: Any) -> None:
    with guard("reading what a model call came to"):
        call_id = active()
        if call_id is not None and call_id in _notes:
            _notes[call_id] = read(told)


def noting_response(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note the response that `BaseLM._process_lm_response` is given (to 3.3)."""

    @functools.wraps(original)
    def processing(self: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        _note(_of_response, response)
        return original(self, response, *args, **kwargs)

    return processing


def noting_result(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note the result that `dspy.clients.execution.finalize` is given (from 3.4)."""

    @functools.wraps(original)
    def finalizing(lm: Any, call: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        _note(_of_result, result)
        return original(lm, call, result, *args, **kwargs)

    return finalizing


def noting_entry(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note the entry of a history, of a model class that has its own way to it."""

    @functools.wraps(original)
    def updating(self: Any, entry: Any, *args: Any, **kwargs: Any) -> Any:
        if _notes.get(active() or "") is None:
            _note(of_entry, entry)
        return original(self, entry, *args, **kwargs)

    return updating


def _of_response(response: Any) -> Note:
    counted = item(response, "usage")
    emptied = counted == {} and hasattr(response, "_hidden_params")  # how DSPy's cache marks an object of LiteLLM
    cached = emptied or bool(item(response, "cache_hit"))
    return Note((response,), None, counted, item(response, "model"), cached)


def _of_result(result: Any) -> Note:
    responses = item(result, "responses") or (item(result, "raw"),)
    outputs, usage, model, cached = (item(result, name) for name in ("outputs", "usage", "response_model", "cache_hit"))
    return Note(responses, outputs, usage, model, bool(cached))


def of_entry(entry: Any) -> Note:
    """Read an entry of a model's history."""
    response = item(entry, "response")
    outputs, usage, model = (item(entry, name) for name in ("outputs", "usage", "response_model"))
    return Note((response,), outputs, usage, model, bool(item(response, "cache_hit")))
