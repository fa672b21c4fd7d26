"""What Arize Phoenix shows of real runs, read back through its own API.

Optional: `NEXUS_TEST_PHOENIX=/path/to/python` of an environment that has arize-phoenix (CONTRIBUTING.md).
"""

import json
import signal
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.kit import EXAMPLE, LAUNCHER, PYTHON, SPAN_ONLY, World
from tests.fakes.provider import demo_script

MODEL = "claude-sonnet-5"
"""One that Phoenix 20.26.1 has in its table of prices."""
STEPS = 4
CALLS, TOOLS = STEPS + 1, 5
QUESTION = "How warm is it in Paris, Oslo and Atlantis? Please answer in Celsius and in Fahrenheit."
PKG = {"NEXUS_SEMCONV": "pkg"}
"""With the finish reason inside each message of the output: Phoenix 20.26.1 drops messages without."""


@dataclass
class Shown:
    """A run of the example, and the spans that Phoenix has of it."""

    world: World
    spans: list[dict[str, Any]]

    def of(self, kind):
        return [span for span in self.spans if span["spanKind"] == kind]


@pytest.fixture(scope="module", params=["http/protobuf", "grpc"])
def shown(request, phoenix, provider, tmp_path_factory):
    """The example sent over one protocol."""
    world = World.made(provider, tmp_path_factory.mktemp("runs"), demo_script(STEPS))
    session = f"example over {request.param}"
    env = {**phoenix.to(request.param), **SPAN_ONLY, **PKG, "NEXUS_SESSION_ID": session, "NEXUS_USER_ID": "ann"}
    done = world.run(LAUNCHER, PYTHON, EXAMPLE, "--model", MODEL, **env)
    assert (done.code, done.err) == (0, "")
    flushed = world.nexus("flush", **env)
    assert (flushed.code, flushed.err) == (0, "")
    return Shown(world, phoenix.settled(session, 1 + CALLS + TOOLS, priced=True))


def messages(span, which):
    """The messages of a span as Phoenix shows them."""
    return [one["message"] for one in span["attributes"]["llm"][f"{which}_messages"]]


def test_one_trace_with_every_span_once_under_its_run(shown):
    assert Counter(span["spanKind"] for span in shown.spans) == {"agent": 1, "llm": CALLS, "tool": TOOLS}
    assert len({span["spanId"] for span in shown.spans}) == len(shown.spans)
    (trace,) = {(span["trace"]["traceId"], span["trace"]["numSpans"]) for span in shown.spans}
    assert trace[1] == len(shown.spans)
    (root,) = shown.of("agent")
    assert root["name"] == "invoke_agent anthropic_agent"
    assert Counter(span["parentId"] for span in shown.spans) == {None: 1, root["spanId"]: CALLS + TOOLS}


def test_the_input_messages_are_what_the_model_was_asked(shown):
    for span, request in zip(shown.of("llm"), shown.world.requests, strict=True):
        system, user, *rest = messages(span, "input")
        assert (system["role"], system["content"]) == ("system", request.body["system"][0]["text"])
        assert (user["role"], user["content"]) == ("user", QUESTION)
        assert calls(rest) == asked(request.body["messages"])
        assert {one["tool"]["json_schema"] is not None for one in span["attributes"]["llm"]["tools"]} == {True}


def calls(of):
    """The tool calls among messages as Phoenix shows them."""
    found = [call["tool_call"] for message in of for call in message.get("tool_calls", ())]
    return [(call["id"], call["function"]["name"], arguments(call["function"])) for call in found]


def arguments(function):
    given = function["arguments"]
    return json.loads(given) if isinstance(given, str) else given


def asked(of):
    """The tool calls among messages as Anthropic writes them."""
    blocks = [block for message in of if isinstance(message["content"], list) for block in message["content"]]
    return [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]


def test_the_output_messages_are_what_the_model_said(shown):
    for span, request in zip(shown.of("llm"), shown.world.requests, strict=True):
        (said,) = messages(span, "output")
        text = "".join(block["text"] for block in request.reply["content"] if block["type"] == "text")
        assert (said["role"], said.get("content", "")) == ("assistant", text)
        assert calls([said]) == asked([request.reply])
    (root,) = shown.of("agent")
    assert messages(root, "output")[-1]["content"] == text
    assert messages(root, "input")[-1]["content"] == QUESTION


def test_the_tools_have_arguments_and_results(shown):
    results = {
        block["tool_use_id"]: block["content"] for block in sent_results(shown.world.requests[-1].body["messages"])
    }
    wanted = asked(shown.world.requests[-1].body["messages"])
    tools = [span["attributes"]["tool"] for span in shown.of("tool")]
    assert sorted((tool["id"], tool["name"], tool["parameters"]) for tool in tools) == sorted(wanted)
    assert {span["attributes"]["tool"]["id"]: span["output"]["value"] for span in shown.of("tool")} == results


def sent_results(of):
    blocks = [block for message in of if isinstance(message["content"], list) for block in message["content"]]
    return [block for block in blocks if block["type"] == "tool_result"]


def test_the_results_in_a_request_are_shown_with_their_call(shown):
    shown_results = {
        message["tool_call_id"]: message["content"]
        for message in messages(shown.of("llm")[-1], "input")
        if "tool_call_id" in message
    }
    sent = sent_results(shown.world.requests[-1].body["messages"])
    # of a message with several results Phoenix 20.26.1 shows the last (_flatten_message)
    assert set(shown_results.items()) < {(one["tool_use_id"], one["content"]) for one in sent}


def test_the_tokens_are_what_the_provider_counted(shown):
    for span, request in zip(shown.of("llm"), shown.world.requests, strict=True):
        used = request.reply["usage"]
        read, written = used.get("cache_read_input_tokens") or 0, used.get("cache_creation_input_tokens") or 0
        assert span["tokenCountPrompt"] == used["input_tokens"] + read + written
        assert span["tokenCountCompletion"] == used["output_tokens"]
        assert (span["tokenPromptDetails"]["cacheRead"] or 0) == read
        # written to the cache: Phoenix 20.26.1 reads the name that was deprecated for `cache_write`
        assert span["tokenPromptDetails"]["cacheWrite"] is None
        assert span["costSummary"]["total"]["cost"] > 0


def test_the_tool_that_failed_is_an_error_with_its_message(shown):
    failed = [span for span in shown.spans if span["statusCode"] == "ERROR"]
    assert [(span["name"], span["statusMessage"]) for span in failed] == [
        ("execute_tool get_weather", "No weather station in Atlantis.")
    ]
    assert [event["name"] for event in failed[0]["events"]] == ["nexus.finding"]


TWICE = """
import loop, nexus_otel
for _turn in range(2):
    with nexus_otel.context(session_id="two turns", user_id="bob"):
        print(loop.ask())
"""


def test_two_runs_of_a_session_are_its_traces(phoenix, world):
    world.load([*demo_script(1), *demo_script(1)])
    env = {**phoenix.to("http/protobuf"), **SPAN_ONLY}
    done = world.launch(TWICE, **env)
    assert (done.code, done.err) == (0, "")
    assert world.nexus("flush", **env).code == 0
    spans = phoenix.settled("two turns", 2 * 5)
    listed = phoenix.session("two turns")
    traces = {edge["node"]["traceId"]: edge["node"]["numSpans"] for edge in listed["traces"]["edges"]}
    assert traces == Counter(span["trace"]["traceId"] for span in spans)
    assert (listed["numTraces"], listed["userId"]) == (2, "bob")
    assert {span["userId"] for span in spans} == {"bob"}
    usage = [request.reply["usage"] for request in world.requests]
    counted = sum(sum(number or 0 for name, number in used.items() if name.endswith("input_tokens")) for used in usage)
    assert listed["tokenUsage"] == {"prompt": counted, "completion": sum(used["output_tokens"] for used in usage)}


def test_without_a_finish_reason_inside_output_messages_are_not_shown(phoenix, world):
    """What docs/collector.md says: `NEXUS_SEMCONV=pkg` for Phoenix."""
    env = {**phoenix.to("http/protobuf"), **SPAN_ONLY, "NEXUS_SESSION_ID": "newest names"}
    assert world.launch("import loop; loop.ask()\n", **env).code == 0
    assert world.nexus("flush", **env).code == 0
    spans = [span for span in phoenix.settled("newest names", 4) if span["spanKind"] == "llm"]
    assert len(spans) == 2
    assert all("output_messages" not in span["attributes"]["llm"] for span in spans)
    assert all("done" in span["attributes"]["gen_ai"]["output"]["messages"] for span in spans[1:])


KILLED = """
import loop, nexus_otel, os

@nexus_otel.tool(name="look")
def look(key):
    os.kill(os.getpid(), 9)

print(loop.ask(tool=lambda given: look(**given)))
"""


def test_what_was_open_in_a_killed_run_is_an_error_once(phoenix, world):
    env = {**phoenix.to("grpc"), **SPAN_ONLY, "NEXUS_SESSION_ID": "killed"}
    assert world.launch(KILLED, **env).code == -signal.SIGKILL
    assert world.nexus("flush", **env).code == 0
    assert world.nexus("flush", **env).code == 0
    spans = phoenix.settled("killed", 3)
    assert sorted((span["name"], span["statusCode"], span["statusMessage"]) for span in spans) == [
        ("chat m", "UNSET", ""),
        ("execute_tool look", "ERROR", "process ended before this span did"),
        ("invoke_agent agent", "ERROR", "process ended before this span did"),
    ]
    assert {span["trace"]["numSpans"] for span in spans} == {3}
    assert all(span["startTime"] <= span["endTime"] for span in spans)


def test_json_is_refused_and_what_to_set_is_said(phoenix, world):
    env = {**phoenix.to("http/json"), "NEXUS_SESSION_ID": "json"}
    assert world.launch("import loop; print(loop.ask())\n", **env).code == 0
    flushed = world.nexus("flush", **env)
    assert flushed.code == 1
    assert "(status 415: it takes no http/json, set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf)" in flushed.err
    doctor = world.nexus("doctor", **env)
    assert doctor.code == 1
    assert "it does not take http/json (status 415)" in doctor.out
    assert "do: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in doctor.out
    assert phoenix.spans("json") == []
