"""The OpenAI instrumentor, call by call: what only this SDK has, and what a table of cases does not show."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from nexus_otel import semconv
from nexus_otel.engine.driver import runs
from nexus_otel.instrumentors._openai_requests import provider as provider_of
from nexus_otel.instrumentors._openai_responses import response_response, usage
from nexus_otel.instrumentors.openai import OpenAIInstrumentor
from tests.fakes.provider import OVERLOADED, Reply, ToolUse, Usage
from tests.instrumentors.openai_cases import (
    ASK,
    CUT,
    FIND,
    FIND_TWO,
    FLAT_TOOLS,
    RESPOND,
    SAID,
    STREAM,
    TOOLS,
    Answer,
    answered,
    async_client,
    client,
    loop,
    loop_of_responses,
    structured,
)
from tests.instrumentors.openai_lines import has, needs
from tests.kit.cases import CANARY, loaded
from tests.kit.conventions import violations
from tests.kit.recording import AGENT, instrumented, trace_id, values

CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
ASKING = {"NEXUS_OPENAI_STREAM_USAGE": "true"}


@pytest.fixture
def play(provider):
    """Make clients that a script of their own answers."""
    with contextlib.ExitStack() as stack:

        def connect(*steps, **options):
            return stack.enter_context(client(provider.url, loaded(steps, provider), **options))

        yield connect


@pytest.fixture
def seen():
    with instrumented(OpenAIInstrumentor) as recording:
        yield recording


def said_in(span: Any, name: str) -> Any:
    return json.loads(values(span)[name])


# -- who answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "host", "name"),
    [
        ("OpenAI", "api.openai.com", "openai"),
        ("OpenAI", "localhost", "openai"),
        ("OpenAI", None, "openai"),
        ("OpenAI", "mine.openai.azure.com", "azure.ai.openai"),
        ("AsyncAzureOpenAI", "gateway.example", "azure.ai.openai"),
        ("OpenAI", "api.deepseek.com", "deepseek"),
        ("OpenAI", "api.groq.com", "groq"),
        ("OpenAI", "api.x.ai", "x_ai"),
        ("OpenAI", "api.mistral.ai", "mistral_ai"),
        ("OpenAI", "api.perplexity.ai", "perplexity"),
        ("OpenAI", "api.moonshot.cn", "moonshot_ai"),
        ("OpenAI", "bedrock-runtime.eu-central-1.amazonaws.com", "aws.bedrock"),
        ("OpenAI", "notx.ai", "openai"),
    ],
)
def test_the_provider_is_known_by_client_or_host(kind, host, name):
    assert provider_of(kind, host) == name


def test_azure_is_the_provider_wherever_it_is(provider, seen):
    options: Any = {"azure_endpoint": provider.url, "api_version": "2024-10-21", "max_retries": 0}
    with openai.AzureOpenAI(api_key=loaded([SAID], provider), **options) as azure:
        azure.chat.completions.create(**ASK)
    attributes = values(seen.one())
    assert (attributes["gen_ai.provider.name"], attributes["server.address"]) == ("azure.ai.openai", "127.0.0.1")
    assert violations(seen.one()) == []


def test_the_client_of_the_module_is_recorded(provider, seen, monkeypatch):
    monkeypatch.setattr(openai, "base_url", f"{provider.url}/v1/")
    monkeypatch.setattr(openai, "api_key", loaded([SAID], provider))
    openai.chat.completions.create(**ASK)
    openai._load_client().close()
    openai._reset_client()
    assert values(seen.one())["server.address"] == "127.0.0.1"


def test_only_what_is_used_is_imported(provider):
    program = f"""
        import sys
        from nexus_otel.bootstrap.activate import activate
        activate("code")
        import openai
        name = "openai.resources.responses.responses"
        lazy = name not in sys.modules
        client = openai.OpenAI(base_url={provider.url + "/v1"!r}, api_key="k")
        client.embeddings
        from openai.resources.chat.completions import Completions
        print(hasattr(Completions.create, "_self_wrapper"), lazy == (name not in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_either_name_of_the_limit_is_read(play, seen):
    play(SAID).chat.completions.create(**ASK, extra_body={"max_completion_tokens": 32})
    assert values(seen.one())["gen_ai.request.max_tokens"] == 32


@pytest.mark.parametrize(
    ("choice", "opened"),
    [
        ("auto", 1),
        ("required", 1),
        ({"type": "function", "function": {"name": "find"}}, 0),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, 1),
    ],
)
def test_a_tool_that_is_forced_opens_no_run(play, seen, choice, opened):
    play(FIND).chat.completions.create(**ASK, tools=TOOLS, tool_choice=choice)
    assert len(seen.open) == opened  # the run waits for the tool's answer
    assert len(seen.all("chat")) == 1


def test_a_format_alone_opens_no_run(play, seen):
    schema = {"name": "answer", "schema": {"type": "object"}}
    format_: Any = {"type": "json_schema", "json_schema": schema}
    play(SAID).chat.completions.create(**ASK, response_format=format_)
    assert values(seen.one("chat"))["gen_ai.output.type"] == "json"


def test_what_was_said_is_recorded_part_by_part(play):
    picture, sound = "data:image/png;base64,AAAA", {"data": "BBBB", "format": "mp3"}
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "name": "Ada",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": picture}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "input_audio", "input_audio": sound},
                {"type": "file", "file": {"file_id": "file_1"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "broken"}]},
    ]
    with instrumented(OpenAIInstrumentor, **CONTENT) as seen:
        play(SAID).chat.completions.create(model="m", messages=messages)
    found = said_in(seen.one(), semconv.INPUT_MESSAGES)
    assert [message["role"] for message in found] == ["developer", "user", "assistant", "assistant", "tool"]
    assert (found[1]["name"], "name" in found[0]) == ("Ada", False)
    assert [(part["type"], part.get("mime_type")) for part in found[1]["parts"]] == [
        ("text", None), ("blob", "image/png"), ("uri", None), ("blob", "audio/mpeg"), ("file", None),
    ]  # fmt: skip
    assert found[2]["parts"] == [{"type": "text", "content": "No."}]
    assert found[3]["parts"][0]["arguments"] == '{"a": 1'
    assert found[4]["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "broken"}]
    assert violations(seen.one()) == []


@needs("responses")
def test_items_are_messages_turn_by_turn(play):
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "Look"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"bird": "x"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "in the cage"},
    ]
    with instrumented(OpenAIInstrumentor, **CONTENT) as seen:
        play(SAID).responses.create(model="m", input=items)
    found = said_in(seen.one(), semconv.INPUT_MESSAGES)
    assert [(m["role"], [part["type"] for part in m["parts"]]) for m in found] == [
        ("user", ["text"]),
        ("assistant", ["reasoning", "server_tool_call", "tool_call"]),
        ("tool", ["tool_call_response"]),
    ]
    assert violations(seen.one()) == []


# -- what is answered --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [{"text": "Found.", "thinking": "Hm."}, {}])
def test_the_model_s_words_are_recorded_whole_or_streamed(play, words):
    rich = Reply(**words, tools=[ToolUse("find", {"bird": "x"}), ToolUse("feed")])
    with instrumented(OpenAIInstrumentor, **CONTENT) as seen:
        play(rich).chat.completions.create(**ASK)
        list(play(rich).chat.completions.create(**ASK, stream=True))
    whole, streamed = (said_in(span, semconv.OUTPUT_MESSAGES) for span in seen.spans)
    assert whole == streamed
    said = ["reasoning", "text"] if words else []
    assert [part["type"] for part in whole[0]["parts"]] == [*said, "tool_call", "tool_call"]
    assert whole[0]["parts"][len(said)]["arguments"] == {"bird": "x"}


@pytest.mark.parametrize("numbers", [(0, 1), (0, 0), (None, None)])
def test_streamed_calls_are_told_apart(numbers):
    def chunk(index, call_id, name, arguments):
        function = {"name": name, "arguments": arguments}
        delta = {"tool_calls": [{"index": index, "id": call_id, "function": function}]}
        choice = SimpleNamespace(index=0, delta=delta, finish_reason=None)
        return SimpleNamespace(id="x", model="m", choices=[choice], usage=None)

    fold = OpenAIInstrumentor.targets[0].fold()
    for index, call_id in zip(numbers, ("a", "b"), strict=True):
        fold.add(chunk(index, call_id, f"tool {call_id}", '{"n":'))
        fold.add(chunk(index, None, None, "1}"))
    assert [(c.id, c.name, c.arguments) for c in fold.result().calls] == [
        ("a", "tool a", {"n": 1}), ("b", "tool b", {"n": 1}),
    ]  # fmt: skip


def test_pieces_that_are_no_texts_are_read_all_the_same():
    """Of servers that speak almost like OpenAI's: thoughts as parts (Mistral), arguments as objects (Ollama)."""
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]
    deltas = [
        {"content": thought},
        {"content": [{"type": "text", "text": "Found."}]},
        {"content": "", "tool_calls": [{"id": "a", "function": {"name": "find", "arguments": {"n": 1}}}]},
    ]
    fold = OpenAIInstrumentor.targets[0].fold()
    for delta in deltas:
        choice = SimpleNamespace(index=0, delta=delta, finish_reason=None)
        fold.add(SimpleNamespace(id="x", model="m", choices=[choice], usage=None))
    result = fold.result()
    assert result.output[0].parts[0] == {"type": "text", "content": "Found."}
    assert [(call.name, call.arguments) for call in result.calls] == [("find", {"n": 1})]


def test_cached_tokens_are_part_of_the_input_however_they_are_named():
    ours = usage({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 7}})
    deep_seeks = usage({"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 7})
    assert ours == deep_seeks
    assert (ours.input_tokens, ours.cache_read_tokens) == (10, 7)


@needs("answer in the error")
def test_an_answer_that_the_sdk_raises_over_counts(play, seen):
    with pytest.raises(openai.LengthFinishReasonError):
        structured(play(CUT)).parse(**ASK, response_format=Answer)
    attributes = values(seen.one())
    assert attributes["error.type"] == "LengthFinishReasonError"
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.response.id"]) == (100, "chatcmpl-0001")


@needs("responses")
def test_a_stream_that_says_an_error_has_failed(play, seen):
    cut = Reply("Hello", cut_after=4, cut_error=OVERLOADED)
    assert len(list(play(cut).responses.create(**RESPOND, stream=True))) == 5  # nothing is raised
    span = seen.one()
    assert (values(span)["error.type"], span.status.status_code.name) == ("server_is_overloaded", "ERROR")
    assert values(span)["gen_ai.response.id"] == "resp_0001"


def test_a_response_that_failed_is_a_failure():
    failed = {"id": "r", "status": "failed", "output": [], "error": {"code": "server_error", "message": "No."}}
    result = response_response(failed)
    assert (result.failure.type, result.failure.message, result.finish_reasons) == ("server_error", "No.", ("error",))
    assert response_response({**failed, "status": "queued"}).finish_reasons == ()


def test_a_call_that_the_provider_has_answered_is_none_of_the_application_s():
    call = {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}}
    done = {"type": "shell_call_output", "call_id": "c1", "output": []}
    assert [c.name for c in response_response({"output": [call]}).calls] == ["shell"]
    assert response_response({"output": [call, done]}).calls == ()


# -- loops -------------------------------------------------------------------------------------------------------------


def test_a_tool_that_was_not_offered_is_an_error(play, seen):
    loop(play(Reply(tools=[ToolUse("fly", {"to": "x"})]), SAID))
    span = seen.one("execute_tool fly")
    assert (values(span)["error.type"], values(span)["nexus.tool.known"]) == ("unknown_tool", False)


def test_wrong_arguments_are_told_by_rule(play, seen):
    loop(play(Reply(tools=[ToolUse("find", {"fish": 1})]), SAID))
    assert values(seen.one("execute_tool find"))["nexus.tool.schema_errors"] == ("required:bird", "unknown:fish")


@pytest.mark.parametrize("same", [False, True])
def test_another_agent_with_the_same_tools_is_told_by_its_instructions(play, seen, same):
    outer, inner = play(FIND, SAID), play(FIND, SAID)
    ask = {**ASK, "tools": TOOLS}
    first = outer.chat.completions.create(**ask)
    loop(inner, "" if same else "You are another.")  # what the tool does
    outer.chat.completions.create(**{**ask, "messages": [*ASK["messages"], *answered(first)]})
    roots = [span for span in seen.all("invoke_agent") if span.parent is None]
    assert len(roots) == (2 if same else 1)


@needs("responses")
def test_the_same_text_in_another_thread_is_no_second_try(play, seen):
    def ask(connected):
        with contextlib.suppress(openai.APIError):
            connected.responses.create(**RESPOND, tools=FLAT_TOOLS)

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:  # both there at once: two threads
        first.submit(ask, play(OVERLOADED)).result()
        second.submit(ask, play(SAID)).result()
    runs.close_all()
    assert len(seen.all("invoke_agent")) == 2


@needs("responses")
def test_the_next_question_is_a_run_of_its_own_with_a_link(play, seen):
    connected = play(FIND, SAID, SAID)
    last = loop_of_responses(connected)[-1]
    connected.responses.create(**RESPOND, previous_response_id=last.id, tools=FLAT_TOOLS)
    first, second = seen.all(f"invoke_agent {AGENT}")
    assert [link.context.trace_id for link in second.links] == [trace_id(first)]


@needs("responses")
@pytest.mark.parametrize("given", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_is_the_provider_s(play, seen, given):
    body = {"conversation": given}
    play(SAID).responses.create(**RESPOND, **(body if has("conversation") else {"extra_body": body}))
    assert values(seen.one())["gen_ai.conversation.id"] == "conv_1"


def test_fifty_loops_at_once_are_fifty_traces(provider, seen):
    import asyncio

    from tests.instrumentors.openai_cases import loop_async

    async def one(connected):
        async with connected:
            await loop_async(connected)

    async def all_of_them():
        keys = [loaded([FIND_TWO, SAID], provider) for _ in range(50)]
        await asyncio.gather(*(one(async_client(provider.url, key)) for key in keys))

    asyncio.run(all_of_them())
    assert len({trace_id(span) for span in seen.spans}) == 50
    assert len(seen.spans) == 50 * 5


# -- usage of streams on request ---------------------------------------------------------------------------------------


def dumped(chunks):
    return [chunk.model_dump(exclude_none=True) for chunk in chunks]


def test_usage_is_asked_for_only_where_that_is_wished(provider, play):
    bare = dumped(play(SAID).chat.completions.create(**ASK, stream=True))
    for wishes, wanted in (({}, None), (ASKING, 100)):
        with instrumented(OpenAIInstrumentor, **wishes) as seen:
            ours = dumped(play(SAID).chat.completions.create(**ASK, stream=True))
        assert ours == bare
        assert values(seen.one()).get("gen_ai.usage.input_tokens") == wanted
        assert ("stream_options" in provider.requests[-1].body) == bool(wishes)


async def test_usage_is_asked_for_asynchronously(provider):
    with instrumented(OpenAIInstrumentor, **ASKING) as seen:
        async with async_client(provider.url, loaded([SAID], provider)) as connected:
            chunks = [chunk async for chunk in await connected.chat.completions.create(**ASK, stream=True)]
    assert all(chunk.choices for chunk in chunks)
    assert values(seen.one())["gen_ai.usage.output_tokens"] == 20


def test_usage_is_asked_for_beneath_the_helper(play):
    with instrumented(OpenAIInstrumentor, **ASKING) as seen, structured(play(SAID)).stream(**ASK) as stream:
        final = stream.get_final_completion()
    assert final.usage is None
    assert values(seen.one())["gen_ai.usage.output_tokens"] == 20


def test_a_chunk_that_the_application_asked_for_is_its_own(play):
    with instrumented(OpenAIInstrumentor, **ASKING):
        chunks = list(play(SAID).chat.completions.create(**STREAM))
    assert chunks[-1].usage.prompt_tokens == 100


@pytest.mark.parametrize("how", ["raw", "unsampled", "declined"])
def test_usage_is_not_asked_for_where_it_would_be_noticed(provider, play, how):
    sampler = ALWAYS_OFF if how == "unsampled" else None
    options: Any = {"stream_options": {"include_usage": False}} if how == "declined" else {}
    with instrumented(OpenAIInstrumentor, sampler=sampler, meters=how != "unsampled", **ASKING):
        completions = play(SAID).chat.completions
        if how == "raw":
            list(completions.with_raw_response.create(**ASK, stream=True).parse())
        else:
            list(completions.create(**ASK, stream=True, **options))
    assert provider.requests[-1].body.get("stream_options") == options.get("stream_options")


def test_a_stream_whose_chunk_is_hidden_is_the_sdk_s_own(play):
    with instrumented(OpenAIInstrumentor, **ASKING) as seen:
        with play(SAID).chat.completions.create(**ASK, stream=True) as stream:
            assert isinstance(stream, openai.Stream)
            next(stream)
        assert seen.open == {}
    assert values(seen.one())["nexus.stream.outcome"] == "closed"


def test_a_prompt_is_nowhere_when_content_is_off(play, seen):
    connected = play(Reply(f"{CANARY}", usage=Usage(input=3, output=2)))
    list(connected.chat.completions.create(**ASK, stream=True))
    assert CANARY not in seen.text()
