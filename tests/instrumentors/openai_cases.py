"""OpenAI's SDK as the kit uses it: every form of a call of chat, responses and completions, and what it makes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import openai
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from nexus_otel.instrumentors.openai import OpenAIInstrumentor
from tests.fakes.provider import (
    API_ERROR,
    BAD_KEY,
    PROMPT_TOO_LONG,
    Dropped,
    Failure,
    Garbage,
    Reply,
    ToolUse,
    Usage,
    rate_limited,
)
from tests.instrumentors.openai_lines import LINES, has
from tests.kit.cases import CANARY, Case, Expected, Library, StreamCase
from tests.kit.recording import AGENT


def client(url: str, key: str, **options: Any) -> openai.OpenAI:
    options = {"max_retries": 0, "http_client": openai.DefaultHttpxClient(verify=False), **options}
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, default_headers={"x-note": CANARY}, **options)


def async_client(url: str, key: str, **options: Any) -> openai.AsyncOpenAI:
    options = {"max_retries": 0, "http_client": openai.DefaultAsyncHttpxClient(verify=False), **options}
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, default_headers={"x-note": CANARY}, **options)


def _stream_types() -> tuple[type, ...]:
    found: list[type] = [openai.Stream, openai.AsyncStream]
    for module in ("chat", "responses"):
        try:
            names = vars(__import__(f"openai.lib.streaming.{module}", fromlist=["*"]))
        except ImportError:  # before 1.66
            continue
        found += [kind for name, kind in names.items() if name.endswith("Stream")]
    return tuple(found)


LIBRARY = Library(
    instrumentor=OpenAIInstrumentor,
    client=client,
    async_client=async_client,
    stream_types=_stream_types(),
    stream_errors={
        "error event": "service_unavailable_error",
        **({"cut": "APIConnectionError"} if has("connection errors in streams") else {}),
    },
    usage_first=False,
    lines=LINES,
)

# -- what is asked -----------------------------------------------------------------------------------------------------

ASK: dict[str, Any] = {
    "model": "gpt-test",
    "max_tokens": 64,
    "messages": [
        {"role": "system", "content": f"Be brief, {CANARY}."},
        {"role": "user", "content": f"Where is the {CANARY}?"},
    ],
}
STREAM: dict[str, Any] = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
RESPOND: dict[str, Any] = {
    "model": "gpt-test",
    "max_output_tokens": 64,
    "instructions": f"Be brief, {CANARY}.",
    "input": f"Where is the {CANARY}?",
}
COMPLETE: dict[str, Any] = {"model": "gpt-test", "max_tokens": 64, "prompt": f"Where is the {CANARY}?"}
SCHEMA = {
    "type": "object",
    "properties": {"bird": {"type": "string", "description": f"Such as {CANARY}"}},
    "required": ["bird"],
}
FUNCTIONS: list[Any] = [
    {"name": "find", "description": "Finds a bird.", "parameters": SCHEMA},
    {"name": "feed", "parameters": {"type": "object"}},
]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
FLAT_TOOLS = [{"type": "function", **function} for function in FUNCTIONS]
SAID = Reply(f"The {CANARY} sits in its cage.")
FIND = Reply(f"I look for the {CANARY}.", tools=[ToolUse("find", {"bird": CANARY})])
FIND_TWO = Reply(tools=[ToolUse("find", {"bird": CANARY}), ToolUse("find", {"bird": f"other {CANARY}"})])
FOUND = f"{CANARY}: in the cage"


class Answer(BaseModel):
    place: str


PARSED = Reply(f'{{"place": "{CANARY}"}}')


def structured(client: Any) -> Any:
    """Return what has `parse` and `stream` of chat completions."""
    return client.chat.completions if has("parse") else client.beta.chat.completions


# -- loops: ask, answer what the model asks for, ask again -------------------------------------------------------------


def answered(reply: Any) -> list[Any]:
    message = reply.choices[0].message
    calls = message.tool_calls or ()
    return [message, *({"role": "tool", "tool_call_id": call.id, "content": FOUND} for call in calls)]


def loop(client: Any, instructions: str = "") -> list[Any]:
    messages = list(ASK["messages"])
    if instructions:
        messages[0] = {"role": "system", "content": instructions}
    replies = []
    while True:
        replies.append(client.chat.completions.create(**{**ASK, "messages": messages}, tools=TOOLS))
        if replies[-1].choices[0].finish_reason != "tool_calls":
            return replies
        messages += answered(replies[-1])


async def loop_async(client: Any) -> list[Any]:
    messages = list(ASK["messages"])
    replies = []
    while True:
        replies.append(await client.chat.completions.create(**{**ASK, "messages": messages}, tools=TOOLS))
        if replies[-1].choices[0].finish_reason != "tool_calls":
            return replies
        messages += answered(replies[-1])


def loop_streamed(client: Any) -> list[Any]:
    messages = list(ASK["messages"])
    replies = []
    while True:
        given = {**ASK, "messages": messages, "stream_options": {"include_usage": True}}
        with structured(client).stream(**given, tools=TOOLS) as stream:
            replies.append(stream.get_final_completion())
        if replies[-1].choices[0].finish_reason != "tool_calls":
            return replies
        messages += answered(replies[-1])


def results(reply: Any) -> list[Any]:
    calls = [item for item in reply.output if item.type == "function_call"]
    return [{"type": "function_call_output", "call_id": call.call_id, "output": FOUND} for call in calls]


def loop_of_responses(client: Any) -> list[Any]:
    """The provider holds the history."""
    replies = [client.responses.create(**RESPOND, tools=FLAT_TOOLS)]
    while given := results(replies[-1]):
        next_ = {**RESPOND, "input": given, "previous_response_id": replies[-1].id}
        replies.append(client.responses.create(**next_, tools=FLAT_TOOLS))
    return replies


async def loop_of_responses_async(client: Any) -> list[Any]:
    replies = [await client.responses.create(**RESPOND, tools=FLAT_TOOLS)]
    while given := results(replies[-1]):
        next_ = {**RESPOND, "input": given, "previous_response_id": replies[-1].id}
        replies.append(await client.responses.create(**next_, tools=FLAT_TOOLS))
    return replies


def loop_of_items(client: Any) -> list[Any]:
    """The application holds the history."""
    items: list[Any] = [{"role": "user", "content": RESPOND["input"]}]
    replies = [client.responses.create(**{**RESPOND, "input": items}, tools=FLAT_TOOLS)]
    while given := results(replies[-1]):
        items = [*items, *replies[-1].output, *given]
        replies.append(client.responses.create(**{**RESPOND, "input": items}, tools=FLAT_TOOLS))
    return replies


# -- what is expected --------------------------------------------------------------------------------------------------

Attributes = Mapping[str, Any]
NOTHING_MORE: Attributes = {}
SYSTEM, INPUT, OUTPUT, DEFINITIONS = (
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.definitions",
)
_ASKED = {
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-test",
    "gen_ai.request.max_tokens": 64,
    "server.address": "127.0.0.1",
    "server.port": int,
}
_ANSWERED = {
    "gen_ai.response.model": "gpt-test",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
}
_OF_CHAT = {"openai.response.service_tier": "default", "openai.response.system_fingerprint": "fp_0001"}


def chat(more: Attributes = NOTHING_MORE, *, failed: bool = False, **of: Any) -> Expected:
    """The span of a chat completion."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "openai.api.type": "chat_completions",
        "nexus.message.count": 2,
        "nexus.message.bytes": 51,
        **_ASKED,
        **({} if failed else {"gen_ai.response.id": "chatcmpl-0001", **_ANSWERED, **_OF_CHAT}),
        **more,
    }
    content = (INPUT,) if failed else (INPUT, OUTPUT)
    return Expected(name="chat gpt-test", attributes=attributes, **{"content": content, **of})


def response(more: Attributes = NOTHING_MORE, *, failed: bool = False, **of: Any) -> Expected:
    """The span of a response."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "openai.api.type": "responses",
        "nexus.message.count": 1,
        "nexus.message.bytes": 27,
        **_ASKED,
        **({} if failed else {"gen_ai.response.id": "resp_0001", "openai.response.service_tier": "default"}),
        **({} if failed else _ANSWERED),
        **more,
    }
    content = (SYSTEM, INPUT) if failed else (SYSTEM, INPUT, OUTPUT)
    return Expected(name="chat gpt-test", attributes=attributes, **{"content": content, **of})


def completion(more: Attributes = NOTHING_MORE) -> Expected:
    """The span of a completion of a text."""
    attributes = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.response.id": "cmpl-0001",
        "nexus.message.count": 1,
        "nexus.message.bytes": 27,
        "openai.response.system_fingerprint": "fp_0001",
        **_ASKED,
        **_ANSWERED,
        **more,
    }
    return Expected(name="text_completion gpt-test", attributes=attributes, content=(INPUT, OUTPUT))


def embeddings(more: Attributes = NOTHING_MORE) -> Expected:
    """The span of an embeddings call, which has no content."""
    attributes = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "embed-test",
        "gen_ai.response.model": "embed-test",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.embeddings.dimension.count": 8,
        "server.address": "127.0.0.1",
        "server.port": int,
        **more,
    }
    return Expected(name="embeddings embed-test", attributes=attributes)


STREAMED = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": float}
JSON = {"gen_ai.output.type": "json"}


def failed(error: str, more: Attributes = NOTHING_MORE, span: Any = chat) -> Expected:
    """The span of a model call that raised."""
    expected: Expected = span({"error.type": error, **more}, failed=True)
    return replace(expected, error=error, events=("exception",))


AGENT_SPAN = f"invoke_agent {AGENT}"


def agent(content: tuple[str, ...], tools: int = 1) -> Expected:
    """The root of a run with two model calls."""
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": AGENT,
        "gen_ai.response.finish_reasons": ("stop",),
        "nexus.usage.input_tokens": 200,
        "nexus.usage.output_tokens": 40,
        "nexus.run.steps": 2,
        "nexus.run.tool_calls": tools,
    }
    return Expected(name=AGENT_SPAN, attributes=attributes, kind=SpanKind.INTERNAL, content=content)


def tool(number: int = 1) -> Expected:
    """The span of a tool that went well, as its answer tells."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "find",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": f"call_{number:04}",
        "gen_ai.agent.name": AGENT,
        "nexus.derived": True,
        "nexus.tool.known": True,
        "nexus.tool.failed": False,
        "nexus.tool.answer.form": "other",
        "nexus.tool.call.arguments.hash": str,
        "nexus.tool.call.result.hash": str,
    }
    content = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    return Expected(
        name="execute_tool find", attributes=attributes, kind=SpanKind.INTERNAL, parent=AGENT_SPAN, content=content
    )


def chat_loop(more: Attributes = NOTHING_MORE, tools: int = 1) -> tuple[Expected, ...]:
    """The spans of a loop with one round of tools."""
    given: Any = {"parent": AGENT_SPAN, "content": (INPUT, OUTPUT, DEFINITIONS)}
    asks = {"gen_ai.response.finish_reasons": ("tool_call",), **more}
    answers = {"gen_ai.response.id": "chatcmpl-0002", "nexus.message.count": 3 + tools, "nexus.message.bytes": int}
    calls = [tool(number) for number in range(1, tools + 1)]
    return agent((INPUT, OUTPUT), tools), chat(asks, **given), *calls, chat({**answers, **more}, **given)


def response_loop(more: Attributes, tools: int = 1) -> tuple[Expected, ...]:
    """The spans of a loop of responses with one round of tools; `more` is of the second one."""
    given: Any = {"parent": AGENT_SPAN, "content": (SYSTEM, INPUT, OUTPUT, DEFINITIONS)}
    asks = {"gen_ai.response.finish_reasons": ("tool_call",)}
    answers = {"gen_ai.response.id": "resp_0002", "nexus.message.count": tools, "nexus.message.bytes": int, **more}
    calls = [tool(number) for number in range(1, tools + 1)]
    return agent((SYSTEM, INPUT, OUTPUT), tools), response(asks, **given), *calls, response(answers, **given)


PREVIOUS = {"gen_ai.request.previous_response.id": "resp_0001"}

# -- the cases ---------------------------------------------------------------------------------------------------------


def create(client: Any) -> Any:
    return client.chat.completions.create(**ASK)


async def create_async(client: Any) -> Any:
    return await client.chat.completions.create(**ASK)


def stream(client: Any) -> Any:
    return list(client.chat.completions.create(**STREAM))


async def stream_async(client: Any) -> Any:
    return [chunk async for chunk in await client.chat.completions.create(**STREAM)]


def helper(client: Any) -> Any:
    with structured(client).stream(**ASK, stream_options={"include_usage": True}) as stream:
        return stream.get_final_completion()


async def helper_async(client: Any) -> Any:
    async with structured(client).stream(**ASK, stream_options={"include_usage": True}) as stream:
        return await stream.get_final_completion()


async def parse_async(client: Any) -> Any:
    return await structured(client).parse(**ASK, response_format=Answer)


def helper_of_format(client: Any) -> Any:
    with structured(client).stream(**ASK, stream_options={"include_usage": True}, response_format=Answer) as stream:
        return stream.get_final_completion()


def raw(client: Any) -> Any:
    response = client.chat.completions.with_raw_response.create(**ASK)
    return response.status_code, response.parse()


async def raw_async(client: Any) -> Any:
    response = await client.chat.completions.with_raw_response.create(**ASK)
    parsed = response.parse()
    return response.status_code, await parsed if inspect.isawaitable(parsed) else parsed


def raw_stream(client: Any) -> Any:
    return list(client.chat.completions.with_raw_response.create(**STREAM).parse())


def streaming_parse(client: Any) -> Any:
    with client.chat.completions.with_streaming_response.create(**ASK) as response:
        return response.parse()


async def streaming_read_async(client: Any) -> Any:
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        return len(await response.read()), CANARY


def streaming_events(client: Any) -> Any:
    with client.chat.completions.with_streaming_response.create(**STREAM) as response:
        return list(response.parse())


def from_iterators(client: Any) -> Any:
    return client.chat.completions.create(**{**ASK, "messages": iter(ASK["messages"])})


def with_parameters(client: Any) -> Any:
    return client.chat.completions.create(
        **ASK, temperature=0, top_p=0.5, seed=7, n=2, frequency_penalty=1, presence_penalty=-0.5, stop="\n",
        response_format={"type": "json_object"}, service_tier="default", extra_body={"reasoning_effort": "low"},
    )  # fmt: skip


def respond(client: Any) -> Any:
    return client.responses.create(**RESPOND)


async def respond_async(client: Any) -> Any:
    return await client.responses.create(**RESPOND)


async def respond_streamed_async(client: Any) -> Any:
    return [event async for event in await client.responses.create(**RESPOND, stream=True)]


def responses_helper(client: Any) -> Any:
    with client.responses.stream(**RESPOND) as stream:
        return stream.get_final_response()


async def responses_helper_async(client: Any) -> Any:
    async with client.responses.stream(**RESPOND) as stream:
        return await stream.get_final_response()


async def responses_parse_async(client: Any) -> Any:
    return await client.responses.parse(**RESPOND, text_format=Answer)


def responses_raw(client: Any) -> Any:
    response = client.responses.with_raw_response.create(**RESPOND)
    return response.status_code, response.parse()


def responses_streaming(client: Any) -> Any:
    with client.responses.with_streaming_response.create(**RESPOND, stream=True) as response:
        return list(response.parse())


async def respond_in_beta(client: Any) -> Any:
    return [event async for event in await client.beta.responses.create(**RESPOND, stream=True)]


async def complete_async(client: Any) -> Any:
    return await client.completions.create(**COMPLETE)


EMBED: dict[str, Any] = {"model": "embed-test", "input": [f"The {CANARY}", "a cage"], "encoding_format": "float"}
FLOATS = {"gen_ai.request.encoding_formats": ("float",)}


def embed(client: Any) -> Any:
    return client.embeddings.create(**EMBED)


async def embed_async(client: Any) -> Any:
    return await client.embeddings.create(**EMBED, dimensions=4)


def embed_raw(client: Any) -> Any:
    return client.embeddings.with_raw_response.create(**EMBED).parse()


RICH = Reply(
    f"I found the {CANARY}.",
    thinking=f"They want the {CANARY}.",
    usage=Usage(input=7, output=50, cache_read=30, cache_write=4, thinking=12),
)
RICH_USAGE = {
    "gen_ai.usage.input_tokens": 41,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.cache_read.input_tokens": 30,
    "gen_ai.usage.cache_write.input_tokens": 4,
    "gen_ai.usage.reasoning.output_tokens": 12,
}
PARAMETERS = {
    "gen_ai.request.temperature": 0.0,
    "gen_ai.request.top_p": 0.5,
    "gen_ai.request.seed": 7,
    "gen_ai.request.choice.count": 2,
    "gen_ai.request.frequency_penalty": 1.0,
    "gen_ai.request.presence_penalty": -0.5,
    "gen_ai.request.stop_sequences": ("\n",),
    "gen_ai.request.reasoning.level": "low",
    "gen_ai.output.type": "json",
    "openai.request.service_tier": "default",
    "gen_ai.response.finish_reasons": ("stop", "stop"),
}
CUT = Reply(f"The {CANARY} sits", stop_reason="max_tokens")
REFUSAL = Reply(refusal=f"I do not talk about the {CANARY}.")

CALLS = (
    Case(id="create", call=create, steps=[SAID], spans=[chat()]),
    Case(id="create-async", call=create_async, steps=[SAID], spans=[chat()]),
    Case(id="rich", call=create, steps=[RICH], spans=[chat(RICH_USAGE)]),
    Case(id="rich-stream", call=stream, steps=[RICH], spans=[chat({**RICH_USAGE, **STREAMED})]),
    Case(id="parameters", call=with_parameters, steps=[SAID], spans=[chat(PARAMETERS)]),
    Case(id="refusal", call=create, steps=[REFUSAL], spans=[chat()]),
    Case(id="refusal-stream", call=stream, steps=[REFUSAL], spans=[chat(STREAMED)]),
    Case(id="length", call=create, steps=[CUT], spans=[chat({"gen_ai.response.finish_reasons": ("length",)})]),
    Case(id="stream", call=stream, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="stream-async", call=stream_async, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="helper", call=helper, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="helper-async", call=helper_async, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="helper-format", call=helper_of_format, steps=[PARSED], spans=[chat({**JSON, **STREAMED})]),
    Case(
        id="parse",
        call=lambda client: structured(client).parse(**ASK, response_format=Answer),
        steps=[PARSED],
        spans=[chat(JSON)],
    ),
    Case(id="parse-async", call=parse_async, steps=[PARSED], spans=[chat(JSON)]),
    Case(id="raw", call=raw, steps=[SAID], spans=[chat()]),
    Case(id="raw-async", call=raw_async, steps=[SAID], spans=[chat()]),
    Case(id="raw-stream", call=raw_stream, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="streaming-parse", call=streaming_parse, steps=[SAID], spans=[chat()]),
    Case(id="streaming-read-async", call=streaming_read_async, steps=[SAID], spans=[chat()]),
    Case(id="streaming-events", call=streaming_events, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="iterators", call=from_iterators, steps=[SAID], spans=[chat()]),
    Case(id="responses", call=respond, steps=[SAID], spans=[response()]),
    Case(id="responses-async", call=respond_async, steps=[SAID], spans=[response()]),
    Case(id="responses-rich", call=respond, steps=[RICH], spans=[response(RICH_USAGE)]),
    Case(
        id="responses-incomplete",
        call=respond,
        steps=[CUT],
        spans=[response({"gen_ai.response.finish_reasons": ("length",)})],
    ),
    Case(
        id="responses-stream",
        call=lambda client: list(client.responses.create(**RESPOND, stream=True)),
        steps=[RICH],
        spans=[response({**RICH_USAGE, **STREAMED})],
    ),
    Case(id="responses-stream-async", call=respond_streamed_async, steps=[SAID], spans=[response(STREAMED)]),
    Case(id="responses-helper", call=responses_helper, steps=[SAID], spans=[response(STREAMED)]),
    Case(id="responses-helper-async", call=responses_helper_async, steps=[SAID], spans=[response(STREAMED)]),
    Case(
        id="responses-parse",
        call=lambda client: client.responses.parse(**RESPOND, text_format=Answer),
        steps=[PARSED],
        spans=[response(JSON)],
    ),
    Case(id="responses-parse-async", call=responses_parse_async, steps=[PARSED], spans=[response(JSON)]),
    Case(
        id="responses-beta",
        call=lambda client: client.beta.responses.create(**RESPOND),
        steps=[SAID],
        spans=[response()],
    ),
    Case(id="responses-beta-stream-async", call=respond_in_beta, steps=[SAID], spans=[response(STREAMED)]),
    Case(id="responses-raw", call=responses_raw, steps=[SAID], spans=[response()]),
    Case(id="responses-streaming", call=responses_streaming, steps=[SAID], spans=[response(STREAMED)]),
    Case(
        id="completion", call=lambda client: client.completions.create(**COMPLETE), steps=[SAID], spans=[completion()]
    ),
    Case(id="completion-async", call=complete_async, steps=[SAID], spans=[completion()]),
    Case(
        id="completion-stream",
        call=lambda client: list(
            client.completions.create(**COMPLETE, stream=True, stream_options={"include_usage": True})
        ),
        steps=[SAID],
        spans=[completion(STREAMED)],
    ),
)
EMBEDDINGS = (
    Case(id="embeddings", call=embed, steps=[SAID], spans=[embeddings(FLOATS)]),
    Case(
        id="embeddings-async",
        call=embed_async,
        steps=[SAID],
        spans=[embeddings({**FLOATS, "gen_ai.embeddings.dimension.count": 4})],
    ),
    Case(id="embeddings-raw", call=embed_raw, steps=[SAID], spans=[embeddings(FLOATS)]),
)
LOOPS = (
    Case(id="loop", call=loop, steps=[FIND, SAID], spans=chat_loop()),
    Case(id="loop-async", call=loop_async, steps=[FIND, SAID], spans=chat_loop()),
    Case(id="loop-stream", call=loop_streamed, steps=[FIND, SAID], spans=chat_loop(STREAMED)),
    Case(id="parallel", call=loop, steps=[FIND_TWO, SAID], spans=chat_loop(tools=2)),
    Case(id="responses-loop", call=loop_of_responses, steps=[FIND, SAID], spans=response_loop(PREVIOUS)),
    Case(id="responses-loop-async", call=loop_of_responses_async, steps=[FIND, SAID], spans=response_loop(PREVIOUS)),
    Case(
        id="responses-loop-items",
        call=loop_of_items,
        steps=[FIND, SAID],
        spans=response_loop({"nexus.message.count": 3}),
    ),
    Case(
        id="responses-parallel",
        call=loop_of_responses,
        steps=[FIND_TWO, SAID],
        spans=response_loop(PREVIOUS, tools=2),
    ),
)
REFUSED = Failure(400, "invalid_request_error", f"The {CANARY} is not allowed.")
LIMITED = {"nexus.error.class": "context_overflow", "nexus.context.tokens": 212_000, "nexus.context.limit": 200_000}
OVERFLOW = {"nexus.error.code": "context_length_exceeded", **LIMITED}
RETRIED = replace(chat(), events=("nexus.retry",))
FAILURES = (
    Case(
        id="refused",
        call=create,
        steps=[REFUSED],
        spans=[failed("invalid_request_error")],
        fails=openai.BadRequestError,
    ),
    Case(
        id="refused-async",
        call=create_async,
        steps=[REFUSED],
        spans=[failed("invalid_request_error")],
        fails=openai.BadRequestError,
    ),
    Case(
        id="responses-refused",
        call=respond,
        steps=[REFUSED],
        spans=[failed("invalid_request_error", span=response)],
        fails=openai.BadRequestError,
    ),
    Case(
        id="overflow",
        call=create,
        steps=[PROMPT_TOO_LONG],
        spans=[failed("invalid_request_error", OVERFLOW)],
        fails=openai.BadRequestError,
    ),
    Case(
        id="responses-overflow",
        call=respond,
        steps=[PROMPT_TOO_LONG],
        spans=[failed("invalid_request_error", OVERFLOW, response)],
        fails=openai.BadRequestError,
    ),
    Case(
        id="401",
        call=create,
        steps=[BAD_KEY],
        spans=[failed("invalid_request_error", {"nexus.error.code": "invalid_api_key"})],
        fails=openai.AuthenticationError,
    ),
    Case(
        id="429",
        call=create,
        steps=[rate_limited()],
        spans=[failed("rate_limit_exceeded")],
        fails=openai.RateLimitError,
    ),
    Case(id="500", call=create, steps=[API_ERROR], spans=[failed("server_error")], fails=openai.InternalServerError),
    Case(
        id="dropped",
        call=create,
        steps=[Dropped()],
        spans=[failed("APIConnectionError")],
        fails=openai.APIConnectionError,
    ),
    Case(id="garbage", call=create, steps=[Garbage()], spans=[failed("JSONDecodeError")], fails=ValueError),
    Case(id="retry", call=create, steps=[rate_limited(), SAID], spans=[RETRIED], options={"max_retries": 1}),
    Case(
        id="retry-async", call=create_async, steps=[rate_limited(), SAID], spans=[RETRIED], options={"max_retries": 1}
    ),
    Case(
        id="responses-retry",
        call=respond,
        steps=[rate_limited(), SAID],
        spans=[replace(response(), events=("nexus.retry",))],
        options={"max_retries": 1},
    ),
)

# -- streams -----------------------------------------------------------------------------------------------------------


async def open_async(client: Any) -> Any:
    return await client.chat.completions.create(**STREAM)


async def open_response_async(client: Any) -> Any:
    return await client.responses.create(**RESPOND, stream=True)


def has_usage(chunk: Any) -> bool:
    return bool(chunk.usage)


def event_has_usage(event: Any) -> bool:
    return bool(event.type == "chunk" and event.chunk.usage)


def is_completed(event: Any) -> bool:
    return bool(event.type == "response.completed")


def managed(client: Any) -> Any:
    return structured(client).stream(**ASK, stream_options={"include_usage": True})


NO_ERROR = frozenset({"error event"})
"""An error that a response's stream says in an event is no exception of the SDK."""
STREAMS = (
    StreamCase(id="create", open=lambda client: client.chat.completions.create(**STREAM), last=has_usage),
    StreamCase(id="create-async", open=open_async, asynchronous=True, last=has_usage),
    StreamCase(id="helper", open=managed, manager=True, last=event_has_usage),
    StreamCase(id="helper-async", open=managed, manager=True, asynchronous=True, last=event_has_usage),
    StreamCase(
        id="responses-stream",
        open=lambda client: client.responses.create(**RESPOND, stream=True),
        last=is_completed,
        without=NO_ERROR,
    ),
    StreamCase(
        id="responses-stream-async", open=open_response_async, asynchronous=True, last=is_completed, without=NO_ERROR
    ),
    StreamCase(
        id="responses-helper",
        open=lambda client: client.responses.stream(**RESPOND),
        manager=True,
        last=is_completed,
        without=NO_ERROR,
    ),
    StreamCase(
        id="responses-helper-async",
        open=lambda client: client.responses.stream(**RESPOND),
        manager=True,
        asynchronous=True,
        last=is_completed,
        without=NO_ERROR,
    ),
)
