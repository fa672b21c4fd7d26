"""What a model call of LangChain asks for: provider, model, parameters, conversation, tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Conversation, Inference, Message
from nexus_otel.genai.plain import item, listed, server_of
from nexus_otel.instrumentors._langchain_config import conversation_id
from nexus_otel.instrumentors._langchain_messages import definitions, parts, split

_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "amazon_bedrock": "aws.bedrock",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "google_anthropic_vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
    "moonshot": "moonshot_ai",
    "watsonx": "ibm.watsonx.ai",
    "ibm": "ibm.watsonx.ai",
}
"""LangChain's words for providers (`ls_provider`) that are others in the conventions."""
_ADDRESSES: Final = ("anthropic_api_url", "azure_endpoint", "openai_api_base", "base_url", "endpoint_url", "endpoint")


def chat_request(call: Call) -> Inference:
    """Read a call of `_generate_with_cache` or `_iter_v2_events`: one list of messages."""
    args = call.arguments
    return _inference(call, args, semconv.CHAT, lambda: messages_of(args, args.get("messages")))


def chat_stream_request(call: Call) -> Inference:
    """Read a call of `stream`: the input is a text, messages or a prompt."""
    args, model = call.arguments, call.instance
    return _inference(
        call, args, semconv.CHAT, lambda: messages_of(args, model._convert_input(args.get("input")).to_messages())
    )


def text_request(call: Call) -> Inference:
    """Read a call of a model that continues texts: `generate`, which takes several, or `stream`."""
    args, model = call.arguments, call.instance

    def told() -> Conversation:
        prompts = args.get("prompts")
        if prompts is None:
            prompts = [model._convert_input(args.get("input")).to_string()]
        return Conversation([Message("user", parts(prompt)) for prompt in listed(prompts)])

    return _inference(call, args, semconv.TEXT_COMPLETION, told)


def _inference(call: Call, args: Mapping[str, Any], operation: str, told: Callable[[], Conversation]) -> Inference:
    model = call.instance
    params = _params(model, args)
    address, port = _server(model)
    return Inference(
        provider=_provider(params.get("ls_provider")),
        model=params.get("ls_model_name"),
        operation=operation,
        request=lambda: _attributes(model, args, params),
        conversation=told,
        offers_tools=bool(args.get("tools") or args.get("functions")),
        address=address,
        port=port,
        stream="stream" in call.wrapped.__name__ or "v2" in call.wrapped.__name__,
        client=id(model),
        history=id(args.get("messages")),
        conversation_id=conversation_id(args.get("config") or args),
    )


def _params(model: Any, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what LangChain tells LangSmith of a call: with the callbacks of the call, else by the model."""
    told = item(args.get("run_manager"), "metadata")
    if isinstance(told, Mapping) and "ls_provider" in told:
        return told
    return quietly(partial(model._get_ls_params, stop=args.get("stop"), **_extra(args))) or {}


_OWN: Final = frozenset(
    {"messages", "prompts", "input", "config", "stop", "run_manager", "callbacks", "tags", "metadata", "run_name",
     "run_id", "stream"}
)  # fmt: skip
"""Arguments that are not passed on to the provider."""


def _extra(args: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in args.items() if name not in _OWN}


def _provider(word: Any) -> str:
    name = str(word or "unknown")
    return _PROVIDERS.get(name, name)


def _server(model: Any) -> tuple[str | None, int | None]:
    """Return host and port of the provider, where the model says at which address it is."""
    return server_of(*(item(model, name) for name in _ADDRESSES))


def messages_of(args: Mapping[str, Any], messages: Any) -> Conversation:
    """Read what a chat model is given."""
    system, history = split(listed(messages))
    tools = definitions(listed(args.get("tools") or args.get("functions")))
    return Conversation(history, system, tools, opens_run=not _forced(args.get("tool_choice"), tools))


def _forced(choice: Any, tools: list[Any]) -> bool:
    """Whether the model has to call one certain tool: it then gives structured output and drives nothing."""
    kind = choice if isinstance(choice, str) else item(choice, "type")
    if kind in {"any", "required"}:
        return len(tools) == 1
    named = {"tool", "function"} | {tool.get("name") for tool in tools}
    return kind is not None and (kind in named or item(choice, "name") in named)


def _attributes(model: Any, args: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request: those of the call, else those of the model."""
    found: dict[str, Any] = {}
    for names, attribute, convert in _PARAMETERS:
        values = (source.get(name) for source in (args, params) for name in names)
        value = next((each for each in values if each is not None), None)
        if value is None:
            value = next((each for name in names if (each := item(model, name)) is not None), None)
        if (said := convert(value)) is not None:
            found[attribute] = said
    if (window := _count(item(item(model, "profile"), "max_input_tokens"))) is not None:
        found[semconv.CONTEXT_WINDOW] = window
    if item(args.get("response_format"), "type") in {"json_object", "json_schema"}:
        found[semconv.OUTPUT_TYPE] = "json"
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    given = [value] if isinstance(value, str) else value
    return tuple(str(text) for text in given) if isinstance(given, list | tuple) and given else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_PARAMETERS: Final[tuple[tuple[tuple[str, ...], str, Callable[[Any], Any]], ...]] = (
    (("max_tokens", "max_completion_tokens", "max_output_tokens", "ls_max_tokens"), semconv.REQUEST_MAX_TOKENS, _count),
    (("temperature", "ls_temperature"), semconv.REQUEST_TEMPERATURE, _number),
    (("top_p",), semconv.REQUEST_TOP_P, _number),
    (("top_k",), semconv.REQUEST_TOP_K, _count),
    (("stop", "stop_sequences", "ls_stop"), semconv.REQUEST_STOP_SEQUENCES, _texts),
    (("reasoning_effort",), semconv.REQUEST_REASONING_LEVEL, _word),
)
