"""Spans of OpenInference and of OpenLLMetry, as they write them, are read like those of the conventions."""

from __future__ import annotations

import json

import pytest

from nexus_otel.detect import SpanView, examine
from nexus_otel.detect.normalise import normalised
from tests.detect.dsl import modes, ns

WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


def inference_model(asked, given):
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": "claude",
        "llm.token_count.prompt": 100,
        "llm.token_count.completion": 20,
        "llm.finish_reason": "tool_use",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.contents.0.message_content.type": "text",
        "llm.input_messages.0.message.contents.0.message_content.text": "Weather?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": asked,
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": json.dumps(given),
        "llm.tools.0.tool.json_schema": json.dumps(WEATHER),
    }


def inference_tool(name, given, answer):
    return {
        "openinference.span.kind": "TOOL",
        "tool.name": name,
        "input.value": json.dumps(given),
        "output.value": answer,
    }


def traceloop_model(asked, given):
    return {
        "llm.request.type": "chat",
        "gen_ai.system": "Anthropic",
        "gen_ai.request.model": "claude",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 20,
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "Weather?",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.id": "c1",
        "gen_ai.completion.0.tool_calls.0.name": asked,
        "gen_ai.completion.0.tool_calls.0.arguments": json.dumps(given),
        "llm.request.functions.0.name": "get_weather",
        "llm.request.functions.0.parameters": json.dumps(WEATHER["input_schema"]),
    }


def traceloop_tool(name, given, answer):
    return {
        "traceloop.span.kind": "tool",
        "traceloop.entity.name": name,
        "traceloop.entity.input": json.dumps({"inputs": given, "tags": [], "metadata": {}}),
        "traceloop.entity.output": json.dumps({"output": answer}),
    }


DIALECTS = {"openinference": (inference_model, inference_tool), "openllmetry": (traceloop_model, traceloop_tool)}
EACH = pytest.mark.parametrize("dialect", DIALECTS)


def trace(dialect, steps):
    model, tool = DIALECTS[dialect]
    kind = {"openinference.span.kind": "AGENT"} if dialect == "openinference" else {"traceloop.span.kind": "agent"}
    spans = [SpanView("1" * 32, "f" * 16, "", "agent", 1, ns(1000), kind)]
    for n, (name, given, answer) in enumerate(steps):
        for offset, attributes in enumerate((model(name, given), tool(name, given, answer) if answer else None)):
            if attributes is not None:
                start = ns(10 * n + offset + 1)
                spans.append(
                    SpanView("1" * 32, f"{2 * n + offset:016x}", "f" * 16, "x", start, start + ns(1), attributes)
                )
    return spans


@EACH
def test_a_loop(dialect):
    steps = [
        ("get_weather", {"city": "Rome"}, f"content='sunny' name='get_weather' tool_call_id='{n}'") for n in range(4)
    ]
    (found,) = examine(trace(dialect, steps))
    assert (found.mode, found.count) == ("loop", 4)


@EACH
def test_a_tool_error(dialect):
    found = examine(trace(dialect, [("get_weather", {"city": "Rome"}, "Error: timed out")]))
    assert [(one.mode, one.data["class"]) for one in found] == [("tool_error", "timeout")]


@EACH
def test_an_unknown_tool(dialect):
    steps = [("send_mail", {"to": "ada"}, None), ("get_weather", {"city": "Rome"}, "sunny")]
    (found,) = examine(trace(dialect, steps))
    assert (found.mode, found.data["kind"]) == ("hallucinated_action", "unknown_tool")


@EACH
def test_wrong_arguments_of_a_call_that_failed(dialect):
    steps = [("get_weather", {"city": 7}, "Error: city must be a text"), ("get_weather", {"city": "Rome"}, "sunny")]
    assert modes(examine(trace(dialect, steps))) == ["hallucinated_action"]


@EACH
def test_nothing_is_found_in_a_good_run(dialect):
    steps = [("get_weather", {"city": city}, "sunny") for city in ("Rome", "Oslo", "Bonn")]
    assert examine(trace(dialect, steps)) == []


@EACH
def test_a_model_call_has_tokens_messages_and_reasons(dialect):
    got = normalised(DIALECTS[dialect][0]("get_weather", {"city": "Rome"}))
    assert (got["gen_ai.operation.name"], got["gen_ai.request.model"]) == ("chat", "claude")
    assert (got["gen_ai.usage.input_tokens"], got["gen_ai.usage.output_tokens"]) == (100, 20)
    assert tuple(got["gen_ai.response.finish_reasons"]) == ("tool_call",)
    (asked,) = json.loads(got["gen_ai.output.messages"])[0]["parts"]
    assert (asked["type"], asked["name"], asked["arguments"]) == ("tool_call", "get_weather", {"city": "Rome"})
    assert json.loads(got["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}
    ]


def test_attributes_of_the_conventions_are_returned_as_they_are():
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1}
    assert normalised(attributes) is attributes


def test_names_of_the_conventions_win():
    got = normalised({"openinference.span.kind": "LLM", "gen_ai.operation.name": "generate_content"})
    assert got["gen_ai.operation.name"] == "generate_content"


def test_a_message_that_langchain_makes_of_an_error_is_one():
    answer = json.dumps({"content": "no such city", "status": "error", "tool_call_id": "c1"})
    got = normalised(inference_tool("get_weather", {"city": "x"}, answer))
    assert json.loads(got["gen_ai.tool.call.result"]) == {"error": "no such city"}


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        ({"args": [], "kwargs": {"city": "Rome"}}, {"city": "Rome"}),
        ({"args": ["Rome"], "kwargs": {}}, ["Rome"]),
        ({"input_str": '{"city": "Rome"}'}, {"city": "Rome"}),
        ({"type": "tool_call", "id": "c1", "args": {"city": "Rome"}}, {"city": "Rome"}),
        ({"city": "Rome"}, {"city": "Rome"}),
    ],
)
def test_arguments_without_what_is_wrapped_around_them(recorded, given):
    got = normalised({"traceloop.span.kind": "tool", "traceloop.entity.input": json.dumps(recorded)})
    assert json.loads(got["gen_ai.tool.call.arguments"]) == given


def test_the_answer_to_a_tool_in_a_message():
    attributes = {
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "tool",
        "llm.input_messages.0.message.content": "sunny",
        "llm.input_messages.0.message.tool_call_id": "c1",
    }
    (message,) = json.loads(normalised(attributes)["gen_ai.input.messages"])
    assert message["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "sunny"}]
