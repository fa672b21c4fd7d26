"""Model classes with a `__call__` or `acall` of their own: DSPy does not tell its callbacks of these calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from nexus_otel.engine.listener import told
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Inference, InferenceResult, Remark, Usage
from nexus_otel.instrumentors import _dspy_hooks as hooks
from nexus_otel.instrumentors import _dspy_notes as notes
from nexus_otel.instrumentors._dspy_models import counted, lm_request, said

_POSITIONS: Final = ("prompt", "messages")
"""The first arguments of `BaseLM.__call__`, as everybody who calls a model by position gives them."""


def own_request(call: Call) -> Inference | None:
    """Read a call of a model class's own method; None for one that DSPy wrote, or wrapped to tell its callbacks."""
    method = getattr(call.wrapped, "__func__", call.wrapped)
    if str(getattr(method, "__globals__", {}).get("__name__")).partition(".")[0] == "dspy":
        return None
    given = dict(call.arguments)
    known = {name: given.pop(name, None) for name in _POSITIONS}
    known |= zip(_POSITIONS, given.pop("args", ()), strict=False)
    return lm_request(told(call.instance, **hooks.of_streams(), **known, kwargs=given))


def own_response(outputs: Any) -> InferenceResult:
    """Read what such a method returned: texts, or dicts with texts and tool calls."""
    return said(outputs)


def own_entry(call: Call) -> Remark | None:
    """Read the entry that such a method makes in the model's history; of other calls it is noted elsewhere."""
    if notes.is_noting():
        return None
    return inner_remark(notes.of_entry(call.arguments.get("entry")))


def inner_remark(note: notes.Note) -> Remark:
    """Return what DSPy knows of a call that such a method makes; of tokens that may be estimated, nothing."""
    known, streams = counted(note), hooks.of_streams()
    if streams["streamed"] and not streams.get("asks_for_usage"):
        known = replace(known, usage=Usage())
    return Remark(known)
