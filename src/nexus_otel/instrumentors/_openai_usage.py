"""Usage of streams that the application does not ask for: only with `NEXUS_OPENAI_STREAM_USAGE=true`.

With `stream_options.include_usage` a stream of completions says in a last chunk, without choices, what it cost.
"""

from __future__ import annotations

from typing import Any, Final

from nexus_otel import config
from nexus_otel.engine import stainless
from nexus_otel.engine.steps import Step
from nexus_otel.engine.target import Call
from nexus_otel.genai.plain import item

_RAW: Final = "x-stainless-raw-response"


class _Ours(dict[str, Any]):
    """Stream options to which we added something."""


def ask(call: Call) -> None:
    """Ask for the usage of a stream; not where the application reads the chunks off the wire by itself."""
    if not config.current().openai_stream_usage or item(call.kwargs, "stream") is not True:
        return
    headers, options = item(call.kwargs, "extra_headers"), item(call.kwargs, "stream_options")
    if item(options, "include_usage") is None and not any(name.lower() == _RAW for name in headers or ()):
        call.added = {"stream_options": _Ours({**(options or {}), "include_usage": True})}


def settle(step: Step, value: Any) -> Any:
    """Do as for every SDK of its kind, and keep the chunk that we asked for from the caller."""
    value = stainless.settle(step, value)
    if isinstance(step.kwargs.get("stream_options"), _Ours) and stainless.is_stream(value):
        stainless.hide(value, _is_usage)
    return value


def _is_usage(chunk: Any) -> bool:
    return not item(chunk, "choices") and item(chunk, "usage") is not None
