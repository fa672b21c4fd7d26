"""What LlamaIndex asks models for: chat, completions, embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Conversation, Inference, Message
from nexus_otel.genai.plain import OneShotError, is_reread, item, listed, server_of
from nexus_otel.instrumentors._llama_index_messages import definition, message

_PROVIDERS: Final = {
    "azure_openai": "azure.ai.openai",
    "azure_inference": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "ibm": "ibm.watsonx.ai",
    "xai": "x_ai",
    "openai_like": "openai",
}
"""The integration's name in `llama_index.llms.NAME`, and the provider's in the conventions, where they differ."""
_UNKNOWN: Final = "_OTHER"


def provider(model: Any) -> str:
    """Return who answers, by the integration that a model's class comes from; the SDK beneath knows better."""
    for kind in type(model).__mro__:
        path = kind.__module__.split(".")
        if path[:2] in (["llama_index", "llms"], ["llama_index", "embeddings"]) and len(path) > 2:  # noqa: PLR2004
            return _PROVIDERS.get(path[2], path[2])
    return _UNKNOWN


def chat_request(call: Call) -> Inference:
    """Read a call of `chat` or `achat`."""
    args = flat(call)
    return _inference(call, args, lambda: _conversation(args), history=id(args.get("messages")))


def chat_stream_request(call: Call) -> Inference:
    """Read a call of `stream_chat` or `astream_chat`."""
    return _streamed(chat_request(call))


def completion_request(call: Call) -> Inference:
    """Read a call of `complete` or `acomplete`: of a chat model too, which makes a chat of it."""
    args = flat(call)
    prompt = args.get("prompt") or next(iter(args.get("args") or ()), None)
    asked = [Message("user", [{"type": "text", "content": prompt}])]
    return _inference(call, args, lambda: Conversation(asked))


def completion_stream_request(call: Call) -> Inference:
    """Read a call of `stream_complete` or `astream_complete`."""
    return _streamed(completion_request(call))


def flat(call: Call) -> dict[str, Any]:
    """Return the arguments of a call, those that the method takes as `**kwargs` among the others."""
    args = dict(call.arguments)
    more = args.pop("kwargs", None)
    return {**args, **more} if isinstance(more, Mapping) else args


def _inference(
    call: Call, args: Mapping[str, Any], conversation: Callable[[], Conversation], history: int = 0
) -> Inference:
    model = call.instance
    address, port = _server(model)
    return Inference(
        provider=provider(model),
        model=_name(model),
        request=lambda: _attributes(model, args),
        conversation=conversation,
        offers_tools=bool(args.get("tools")),
        address=address,
        port=port,
        client=id(model),
        history=history,
    )


def _streamed(operation: Inference) -> Inference:
    operation.stream = True
    return operation


def _name(model: Any) -> str | None:
    told = next((item(model, name) for name in ("model", "model_name", "model_id") if item(model, name)), None)
    return str(told) if told is not None else None


def _server(model: Any) -> tuple[str | None, int | None]:
    return server_of(*(item(model, name) for name in ("api_base", "base_url", "azure_endpoint")))


_UNKNOWN_WINDOW: Final = 3_900
"""`DEFAULT_CONTEXT_WINDOW` of llama-index-core: what it takes for a model that it does not know."""
_PARAMETERS: Final = {
    "temperature": (semconv.REQUEST_TEMPERATURE, float),
    "max_tokens": (semconv.REQUEST_MAX_TOKENS, int),
    "top_p": (semconv.REQUEST_TOP_P, float),
}


def _attributes(model: Any, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request: of the call, else of the model."""
    found: dict[str, Any] = {}
    for name, (attribute, kind) in _PARAMETERS.items():
        value = args[name] if name in args else item(model, name)
        if isinstance(value, int | float):
            found[attribute] = kind(value)
    window = item(quietly(item, model, "metadata"), "context_window")
    if isinstance(window, int) and window not in {0, _UNKNOWN_WINDOW}:
        found[semconv.CONTEXT_WINDOW] = window
    return found


def _conversation(args: Mapping[str, Any]) -> Conversation:
    told = args.get("messages")
    if not is_reread(told):
        raise OneShotError
    offered = args.get("tools")
    tools = [definition(tool) for tool in listed(item(offered, "tools") if isinstance(offered, Mapping) else offered)]
    choice = args.get("tool_choice")
    kind = choice if isinstance(choice, str) else item(choice, "type")
    forced = kind in ("tool", "function") or (kind in ("any", "required") and len(tools) == 1)
    return Conversation([message(each) for each in told or ()], tools=tools, opens_run=not forced)


def embedding_request(call: Call) -> Inference:
    """Read a call of one of the public methods of an embedding model."""
    model = call.instance
    address, port = _server(model)
    return Inference(
        provider=provider(model),
        model=_name(model),
        request=dict,
        conversation=Conversation,
        operation=semconv.EMBEDDINGS,
        address=address,
        port=port,
        client=id(model),
    )
