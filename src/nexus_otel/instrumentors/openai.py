"""OpenAI's SDK: chat completions, responses, completions, embeddings, with any server that speaks like OpenAI's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nexus_otel.engine import stainless
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.retries import retries
from nexus_otel.engine.target import Swap, Target
from nexus_otel.instrumentors._openai_folds import ChatFold, CompletionFold, ResponseFold
from nexus_otel.instrumentors._openai_requests import (
    chat_request,
    completion_request,
    embedding_request,
    response_request,
)
from nexus_otel.instrumentors._openai_responses import (
    answered,
    chat_response,
    completion_response,
    embedding_response,
    failure,
    response_response,
)
from nexus_otel.instrumentors._openai_usage import settle

_CHAT: Any = {"request": chat_request, "response": chat_response, "answered": answered, "fold": ChatFold}
_RESPONSES: Any = {"request": response_request, "response": response_response, "fold": ResponseFold}
_TEXT: Any = {"request": completion_request, "response": completion_response, "fold": CompletionFold}
_EMBEDDINGS: Any = {"request": embedding_request, "response": embedding_response}


def _calls(module: str, path: str, how: dict[str, Any], **more: Any) -> Iterable[Target]:
    """Give a method of both colours; the helper `stream` makes its call by `create`, when its manager is entered."""
    for owner in ("", "Async"):
        yield Target(
            module=f"openai.resources.{module}", name=f"{owner}{path}", failure=failure, settle=settle,
            **how, **more,
        )  # fmt: skip


class OpenAIInstrumentor(Instrumentor):
    """Records the model calls of OpenAI's SDK."""

    package = "openai"
    requires = ("openai >= 1.40.0, < 4",)
    targets = (
        *_calls("chat.completions.completions", "Completions.create", _CHAT, since="1.63"),
        *_calls("chat.completions.completions", "Completions.parse", _CHAT, since="1.92"),
        *_calls("chat.completions", "Completions.create", _CHAT, until="1.63"),
        *_calls("beta.chat.completions", "Completions.parse", _CHAT, until="1.92"),
        *_calls("responses.responses", "Responses.create", _RESPONSES, since="1.66"),
        *_calls("responses.responses", "Responses.parse", _RESPONSES, since="1.66"),
        *_calls("beta.responses.responses", "Responses.create", _RESPONSES, optional=True),
        *_calls("completions", "Completions.create", _TEXT),
        *_calls("embeddings", "Embeddings.create", _EMBEDDINGS),
        *retries("openai", since="1.76"),
    )
    replacements = (
        Swap("openai._response", "APIResponse.parse", stainless.observe_parse),
        Swap("openai._response", "AsyncAPIResponse.parse", stainless.observe_parse),
        Swap("openai._legacy_response", "LegacyAPIResponse.parse", stainless.observe_parse),
    )
