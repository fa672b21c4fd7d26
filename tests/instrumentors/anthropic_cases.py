"""The Anthropic SDK as the kit uses it: every form of a call of `messages` and `beta.messages`, and what it makes."""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anthropic
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.fakes.provider import (
    API_ERROR,
    BAD_KEY,
    OVERLOADED,
    PROMPT_TOO_LONG,
    Dropped,
    Failure,
    Garbage,
    Reply,
    ToolUse,
    Usage,
    rate_limited,
)
from tests.instrumentors.anthropic_lines import LINES, has
from tests.kit.cases import CANARY, Case, Expected, Library, StreamCase
from tests.kit.recording import AGENT


def client(url: str, key: str, **options: Any) -> anthropic.Anthropic:
    options = {"max_retries": 0, "http_client": anthropic.DefaultHttpxClient(verify=False), **options}
    return anthropic.Anthropic(base_url=url, api_key=key, default_headers={"x-note": CANARY}, **options)


def async_client(url: str, key: str, **options: Any) -> anthropic.AsyncAnthropic:
    options = {"max_retries": 0, "http_client": anthropic.DefaultAsyncHttpxClient(verify=False), **options}
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, default_headers={"x-note": CANARY}, **options)


STREAM_TYPES = (
    "Stream", "AsyncStream", "MessageStream", "AsyncMessageStream", "BetaMessageStream", "BetaAsyncMessageStream",
    "PromptCachingBetaMessageStream", "AsyncPromptCachingBetaMessageStream",
)  # fmt: skip
LIBRARY = Library(
    instrumentor=AnthropicInstrumentor,
    client=client,
    async_client=async_client,
    stream_types=tuple(vars(anthropic)[name] for name in STREAM_TYPES if name in vars(anthropic)),
    lines=LINES,
)

# -- what is asked -----------------------------------------------------------------------------------------------------

ASK: dict[str, Any] = {
    "model": "claude-test",
    "max_tokens": 64,
    "system": f"Be brief, {CANARY}.",
    "messages": [{"role": "user", "content": f"Where is the {CANARY}?"}],
}
TOOLS: list[Any] = [
    {
        "name": "find",
        "description": "Finds a bird.",
        "input_schema": {
            "type": "object",
            "properties": {"bird": {"type": "string", "description": f"Such as {CANARY}"}},
            "required": ["bird"],
        },
    },
    {"name": "feed", "input_schema": {"type": "object"}},
]
SAID = Reply(f"The {CANARY} sits in its cage.")
FIND = Reply(f"I look for the {CANARY}.", tools=[ToolUse("find", {"bird": CANARY})])


class Answer(BaseModel):
    place: str


class Choice(enum.Enum):
    BIRD = CANARY


CHOSEN = Reply(f'"{CANARY}"')
PARSED = Reply(f'{{"place": "{CANARY}"}}')


def loop(create: Any) -> list[Any]:
    """Ask, answer what the model asks for, ask again."""
    messages = list(ASK["messages"])
    replies = []
    while True:
        replies.append(create(**{**ASK, "messages": messages}, tools=TOOLS))
        if replies[-1].stop_reason != "tool_use":
            return replies
        messages += [{"role": "assistant", "content": replies[-1].content}, answered(replies[-1])]


async def loop_async(create: Any) -> list[Any]:
    messages = list(ASK["messages"])
    replies = []
    while True:
        replies.append(await create(**{**ASK, "messages": messages}, tools=TOOLS))
        if replies[-1].stop_reason != "tool_use":
            return replies
        messages += [{"role": "assistant", "content": replies[-1].content}, answered(replies[-1])]


def answered(reply: Any) -> dict[str, Any]:
    ids = [block.id for block in reply.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": id_, "content": f"{CANARY}: in the cage"} for id_ in ids]
    return {"role": "user", "content": results}


def find(bird: str) -> str:
    """Finds a bird.

    Args:
        bird: Its name.
    """
    return f"{bird}: in the cage"


async def find_async(bird: str) -> str:
    """Finds a bird.

    Args:
        bird: Its name.
    """
    return f"{bird}: in the cage"


def run_tools(client: Any, **options: Any) -> Any:
    tool = anthropic.beta_tool(find, input_schema=TOOLS[0]["input_schema"])
    return client.beta.messages.tool_runner(**ASK, tools=[tool], **options)


def run_tools_async(client: Any, **options: Any) -> Any:
    tool = anthropic.beta_async_tool(find_async, name="find", input_schema=TOOLS[0]["input_schema"])
    return client.beta.messages.tool_runner(**ASK, tools=[tool], **options)


# -- what is expected --------------------------------------------------------------------------------------------------

Attributes = Mapping[str, Any]
NOTHING_MORE: Attributes = {}
SYSTEM, INPUT, OUTPUT, DEFINITIONS = (
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.definitions",
)


def chat(
    more: Attributes = NOTHING_MORE,
    *,
    without: tuple[str, ...] = (),
    parent: str | None = None,
    content: tuple[str, ...] = (SYSTEM, INPUT, OUTPUT),
) -> Expected:
    """The span of a model call that went well, with `more` attributes or other values."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-test",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.response.id": "msg_0001",
        "gen_ai.response.model": "claude-test",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "server.address": "127.0.0.1",
        "server.port": int,
        "nexus.message.count": 1,
        "nexus.message.bytes": 27,
    }
    attributes = {name: value for name, value in attributes.items() if name not in without} | dict(more)
    model = attributes["gen_ai.request.model"]
    return Expected(name=f"chat {model}", attributes=attributes, parent=parent, content=content)


STREAMED = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": float}
RESPONSE = (
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.response.finish_reasons",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
)


def failed(error: str, more: Attributes = NOTHING_MORE) -> Expected:
    """The span of a model call that raised."""
    expected = chat({"error.type": error, **more}, without=RESPONSE, content=(SYSTEM, INPUT))
    return replace(expected, error=error, events=("exception",))


AGENT_SPAN = f"invoke_agent {AGENT}"


def agent() -> Expected:
    """The root of a run with one tool call."""
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": AGENT,
        "gen_ai.response.finish_reasons": ("stop",),
        "nexus.usage.input_tokens": 200,
        "nexus.usage.output_tokens": 40,
        "nexus.run.steps": 2,
        "nexus.run.tool_calls": 1,
    }
    return Expected(name=AGENT_SPAN, attributes=attributes, kind=SpanKind.INTERNAL, content=(SYSTEM, INPUT, OUTPUT))


def tool(more: Attributes) -> Expected:
    """The span of a tool that went well."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "find",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "toolu_0001",
        "gen_ai.agent.name": AGENT,
        "nexus.tool.known": True,
        "nexus.tool.failed": False,
        "nexus.tool.answer.form": "other",
        "nexus.tool.call.arguments.hash": str,
        "nexus.tool.call.result.hash": str,
        **more,
    }
    content = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    return Expected(
        name="execute_tool find", attributes=attributes, kind=SpanKind.INTERNAL, parent=AGENT_SPAN, content=content
    )


def tool_loop(more: Attributes = NOTHING_MORE, *, ran: bool = False) -> tuple[Expected, ...]:
    """The spans of a loop with one tool call, whose tool the SDK `ran` or the caller."""
    given = (SYSTEM, INPUT, OUTPUT, DEFINITIONS)
    asks = {"gen_ai.response.finish_reasons": ("tool_call",), **more}
    answers = {"gen_ai.response.id": "msg_0002", "nexus.message.count": 3, "nexus.message.bytes": int, **more}
    first = chat(asks, parent=AGENT_SPAN, content=given)
    if ran:
        found = tool({"gen_ai.tool.description": "Finds a bird."})
        if not has("thread"):
            return agent(), first, found, chat(answers, parent=AGENT_SPAN, content=given)
        answers["nexus.message.count"] = 1  # it continues a thread that the provider holds: only the answer is sent
        return agent(), first, found, chat(answers, parent=AGENT_SPAN, content=(INPUT, OUTPUT))
    return agent(), first, tool({"nexus.derived": True}), chat(answers, parent=AGENT_SPAN, content=given)


# -- the cases ---------------------------------------------------------------------------------------------------------


def create(client: Any) -> Any:
    return client.messages.create(**ASK)


async def create_async(client: Any) -> Any:
    return await client.messages.create(**ASK)


async def stream_async(client: Any) -> Any:
    return [event async for event in await client.messages.create(**ASK, stream=True)]


def helper(client: Any) -> Any:
    with client.messages.stream(**ASK) as stream:
        return stream.get_final_message()


def helper_of_choice(client: Any) -> Any:
    with client.messages.stream(**ASK, output_format=Choice) as stream:
        return stream.get_final_message()


async def helper_async(client: Any) -> Any:
    async with client.messages.stream(**ASK) as stream:
        return await stream.get_final_message()


def helper_text(client: Any) -> Any:
    with client.messages.stream(**ASK) as stream:
        return list(stream.text_stream)


async def helper_text_async(client: Any) -> Any:
    async with client.messages.stream(**ASK) as stream:
        return [text async for text in stream.text_stream]


async def beta_create_async(client: Any) -> Any:
    return await client.beta.messages.create(**ASK)


def beta_helper(client: Any) -> Any:
    with client.beta.messages.stream(**ASK) as stream:
        stream.until_done()
        return stream.get_final_message()


async def caching_async(client: Any) -> Any:
    return await client.beta.prompt_caching.messages.create(**ASK)


def caching_helper(client: Any) -> Any:
    with client.beta.prompt_caching.messages.stream(**ASK) as stream:
        return stream.get_final_message()


async def caching_helper_async(client: Any) -> Any:
    async with client.beta.prompt_caching.messages.stream(**ASK) as stream:
        return [text async for text in stream.text_stream]


async def parse_async(client: Any) -> Any:
    return await client.messages.parse(**ASK, output_format=Answer)


def raw(client: Any) -> Any:
    response = client.messages.with_raw_response.create(**ASK)
    return response.status_code, response.parse()


async def raw_async(client: Any) -> Any:
    response = await client.messages.with_raw_response.create(**ASK)
    parsed = response.parse()
    return response.status_code, await parsed if inspect.isawaitable(parsed) else parsed


def raw_stream(client: Any) -> Any:
    return list(client.messages.with_raw_response.create(**ASK, stream=True).parse())


def streaming_parse(client: Any) -> Any:
    with client.messages.with_streaming_response.create(**ASK) as response:
        return response.parse()


def streaming_read(client: Any) -> Any:
    with client.messages.with_streaming_response.create(**ASK) as response:
        return len(response.read()), CANARY


async def streaming_read_async(client: Any) -> Any:
    async with client.messages.with_streaming_response.create(**ASK) as response:
        return len(await response.read()), CANARY


async def streaming_parse_async(client: Any) -> Any:
    async with client.messages.with_streaming_response.create(**ASK) as response:
        return await response.parse()


def streaming_events(client: Any) -> Any:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        return list(response.parse())


async def count_async(client: Any) -> Any:
    return await client.messages.count_tokens(model="claude-test", messages=ASK["messages"])


def batch(messages: Any) -> Any:
    """Make a batch, look at it, read its results."""
    requests: Any = [{"custom_id": CANARY, "params": ASK}]
    made = messages.batches.create(requests=requests)
    found = messages.batches.retrieve(made.id)
    return [made.id, found.processing_status, *(one.result.message for one in messages.batches.results(made.id))]


async def batch_async(messages: Any) -> Any:
    requests: Any = [{"custom_id": CANARY, "params": ASK}]
    made = await messages.batches.create(requests=requests)
    found = await messages.batches.retrieve(made.id)
    results = [one.result.message async for one in await messages.batches.results(made.id)]
    return [made.id, found.processing_status, *results]


async def batch_of_client(client: Any) -> Any:
    return await batch_async(client.messages)


async def beta_batch_of_client(client: Any) -> Any:
    return await batch_async(client.beta.messages)


async def beta_count_async(client: Any) -> Any:
    return await client.beta.messages.count_tokens(model="claude-test", messages=ASK["messages"])


def from_iterators(client: Any) -> Any:
    given = {"messages": iter(ASK["messages"]), "system": iter([{"type": "text", "text": ASK["system"]}])}
    return client.messages.create(**{**ASK, **given})


def run_streamed(client: Any) -> Any:
    return [stream.get_final_message() for stream in run_tools(client, stream=True)]


async def run_async(client: Any) -> Any:
    return [message async for message in run_tools_async(client)]


async def run_streamed_async(client: Any) -> Any:
    return [await stream.get_final_message() async for stream in run_tools_async(client, stream=True)]


async def loop_of_awaits(client: Any) -> Any:
    return await loop_async(client.messages.create)


DEPRECATED = next(iter(sys.modules[anthropic.Anthropic(api_key="x").messages.__module__].DEPRECATED_MODELS))


def deprecated(client: Any) -> Any:
    return client.messages.create(**{**ASK, "model": DEPRECATED})


async def deprecated_async(client: Any) -> Any:
    return await client.messages.create(**{**ASK, "model": DEPRECATED})


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
BETA_FORMAT_WARNS = (DeprecationWarning,) if has("deprecated beta output_format") else ()
OLD = {"gen_ai.request.model": DEPRECATED, "gen_ai.response.model": DEPRECATED}

CALLS = (
    Case(id="create", call=create, steps=[SAID], spans=[chat()]),
    Case(id="create-async", call=create_async, steps=[SAID], spans=[chat()]),
    Case(id="rich", call=create, steps=[RICH], spans=[chat(RICH_USAGE)]),
    Case(
        id="rich-stream",
        call=lambda client: list(client.messages.create(**ASK, stream=True)),
        steps=[RICH],
        spans=[chat({**RICH_USAGE, **STREAMED})],
    ),
    Case(
        id="stream",
        call=lambda client: list(client.messages.create(**ASK, stream=True)),
        steps=[SAID],
        spans=[chat(STREAMED)],
    ),
    Case(id="stream-async", call=stream_async, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="helper", call=helper, steps=[SAID], spans=[chat(STREAMED)]),
    Case(
        id="helper-choice",
        call=helper_of_choice,
        steps=[CHOSEN],
        spans=[chat({"gen_ai.output.type": "json", **STREAMED})],
    ),
    Case(id="helper-async", call=helper_async, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="text-stream", call=helper_text, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="text-stream-async", call=helper_text_async, steps=[SAID], spans=[chat(STREAMED)]),
    Case(
        id="parse",
        call=lambda client: client.messages.parse(**ASK, output_format=Answer),
        steps=[PARSED],
        spans=[chat({"gen_ai.output.type": "json"})],
    ),
    Case(id="parse-async", call=parse_async, steps=[PARSED], spans=[chat({"gen_ai.output.type": "json"})]),
    Case(id="beta", call=lambda client: client.beta.messages.create(**ASK), steps=[SAID], spans=[chat()]),
    Case(id="beta-async", call=beta_create_async, steps=[SAID], spans=[chat()]),
    Case(
        id="beta-parse",
        call=lambda client: client.beta.messages.parse(**ASK, output_format=Answer),
        steps=[PARSED],
        spans=[chat({"gen_ai.output.type": "json"})],
        warns=BETA_FORMAT_WARNS,
    ),
    Case(id="beta-helper", call=beta_helper, steps=[SAID], spans=[chat(STREAMED)]),
    Case(
        id="caching",
        call=lambda client: client.beta.prompt_caching.messages.create(**ASK),
        steps=[RICH],
        spans=[chat(RICH_USAGE)],
    ),
    Case(id="caching-async", call=caching_async, steps=[SAID], spans=[chat()]),
    Case(
        id="caching-stream",
        call=lambda client: list(client.beta.prompt_caching.messages.create(**ASK, stream=True)),
        steps=[SAID],
        spans=[chat(STREAMED)],
    ),
    Case(id="caching-helper", call=caching_helper, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="caching-helper-async", call=caching_helper_async, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="raw", call=raw, steps=[SAID], spans=[chat()]),
    Case(id="raw-async", call=raw_async, steps=[SAID], spans=[chat()]),
    Case(id="raw-stream", call=raw_stream, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="streaming-parse", call=streaming_parse, steps=[SAID], spans=[chat()]),
    Case(id="streaming-parse-async", call=streaming_parse_async, steps=[SAID], spans=[chat()]),
    Case(id="streaming-read", call=streaming_read, steps=[SAID], spans=[chat()]),
    Case(id="streaming-read-async", call=streaming_read_async, steps=[SAID], spans=[chat()]),
    Case(id="streaming-events", call=streaming_events, steps=[SAID], spans=[chat(STREAMED)]),
    Case(id="iterators", call=from_iterators, steps=[SAID], spans=[chat()]),
    Case(
        id="count",
        call=lambda client: client.messages.count_tokens(model="claude-test", messages=ASK["messages"]),
    ),
    Case(id="count-async", call=count_async),
    Case(
        id="beta-count",
        call=lambda client: client.beta.messages.count_tokens(model="claude-test", messages=ASK["messages"]),
    ),
    Case(id="beta-count-async", call=beta_count_async),
    Case(id="batch", call=lambda client: batch(client.messages)),
    Case(id="batch-async", call=batch_of_client),
    Case(id="beta-batch", call=lambda client: batch(client.beta.messages)),
    Case(id="beta-batch-async", call=beta_batch_of_client),
    Case(
        id="deprecated",
        call=deprecated,
        steps=[SAID],
        spans=[chat(OLD)],
        warns=(DeprecationWarning,),
    ),
    Case(
        id="deprecated-async",
        call=deprecated_async,
        steps=[SAID],
        spans=[chat(OLD)],
        warns=(DeprecationWarning,),
    ),
)
LOOPS = (
    Case(id="loop", call=lambda client: loop(client.messages.create), steps=[FIND, SAID], spans=tool_loop()),
    Case(id="loop-async", call=loop_of_awaits, steps=[FIND, SAID], spans=tool_loop()),
    Case(id="runner", call=lambda client: list(run_tools(client)), steps=[FIND, SAID], spans=tool_loop(ran=True)),
    Case(id="runner-async", call=run_async, steps=[FIND, SAID], spans=tool_loop(ran=True)),
    Case(id="runner-stream", call=run_streamed, steps=[FIND, SAID], spans=tool_loop(STREAMED, ran=True)),
    Case(id="runner-stream-async", call=run_streamed_async, steps=[FIND, SAID], spans=tool_loop(STREAMED, ran=True)),
)
REFUSED = Failure(400, "invalid_request_error", f"The {CANARY} is not allowed.")
FAILURES = (
    Case(
        id="refused",
        call=create,
        steps=[REFUSED],
        spans=[failed("invalid_request_error")],
        fails=anthropic.BadRequestError,
    ),
    Case(
        id="refused-async",
        call=create_async,
        steps=[REFUSED],
        spans=[failed("invalid_request_error")],
        fails=anthropic.BadRequestError,
    ),
    Case(
        id="overflow",
        call=create,
        steps=[PROMPT_TOO_LONG],
        spans=[
            failed(
                "invalid_request_error",
                {
                    "nexus.error.class": "context_overflow",
                    "nexus.context.tokens": 212_000,
                    "nexus.context.limit": 200_000,
                },
            )
        ],
        fails=anthropic.BadRequestError,
    ),
    Case(
        id="401",
        call=create,
        steps=[BAD_KEY],
        spans=[failed("authentication_error")],
        fails=anthropic.AuthenticationError,
    ),
    Case(
        id="429",
        call=create,
        steps=[rate_limited()],
        spans=[failed("rate_limit_error")],
        fails=anthropic.RateLimitError,
    ),
    Case(id="500", call=create, steps=[API_ERROR], spans=[failed("api_error")], fails=anthropic.InternalServerError),
    Case(
        id="529",
        call=create,
        steps=[OVERLOADED],
        spans=[failed("overloaded_error")],
        fails=anthropic.APIStatusError,
    ),
    Case(
        id="529-async",
        call=create_async,
        steps=[OVERLOADED],
        spans=[failed("overloaded_error")],
        fails=anthropic.APIStatusError,
    ),
    Case(
        id="dropped",
        call=create,
        steps=[Dropped()],
        spans=[failed("APIConnectionError")],
        fails=anthropic.APIConnectionError,
    ),
    Case(id="garbage", call=create, steps=[Garbage()], spans=[failed("JSONDecodeError")], fails=ValueError),
    Case(
        id="retry",
        call=create,
        steps=[rate_limited(), SAID],
        spans=[replace(chat(), events=("nexus.retry",))],
        options={"max_retries": 1},
    ),
    Case(
        id="retry-async",
        call=create_async,
        steps=[rate_limited(), SAID],
        spans=[replace(chat(), events=("nexus.retry",))],
        options={"max_retries": 1},
    ),
)


async def open_async(client: Any) -> Any:
    return await client.messages.create(**ASK, stream=True)


STREAMS = (
    StreamCase(id="create", open=lambda client: client.messages.create(**ASK, stream=True)),
    StreamCase(id="create-async", open=open_async, asynchronous=True),
    StreamCase(id="helper", open=lambda client: client.messages.stream(**ASK), manager=True),
    StreamCase(id="helper-async", open=lambda client: client.messages.stream(**ASK), manager=True, asynchronous=True),
    StreamCase(id="beta", open=lambda client: client.beta.messages.create(**ASK, stream=True)),
    StreamCase(id="beta-helper", open=lambda client: client.beta.messages.stream(**ASK), manager=True),
    StreamCase(
        id="caching-helper", open=lambda client: client.beta.prompt_caching.messages.stream(**ASK), manager=True
    ),
    StreamCase(
        id="caching-helper-async",
        open=lambda client: client.beta.prompt_caching.messages.stream(**ASK),
        manager=True,
        asynchronous=True,
    ),
    StreamCase(
        id="beta-helper-async",
        open=lambda client: client.beta.messages.stream(**ASK),
        manager=True,
        asynchronous=True,
    ),
)
