"""A run of 100 steps with content: each message is stored once, and read back as it was in every call that had it."""

import json
import signal

import pytest

from tests.e2e.kit import SPAN_ONLY, World, kind_of
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Reply, ToolUse

STEPS = 100
AGENT = """
import loop, random
words = ["file", "line", "test", "module", "import", "passed", "\\"quoted\\"", "naïve", "return", "def", "\\n    ", "42"]
def tool(given):
    chosen = random.Random(given["key"])
    return " ".join(chosen.choice(words) + str(chosen.randrange(1000)) for _ in range(700))
print(loop.ask(tool=tool, system="You repair programs. " * 100))
"""


def script():
    asked = (Reply(f"I look at file {n} next.", tools=[ToolUse("look", {"key": f"file{n}"})]) for n in range(STEPS - 1))
    return [*asked, Reply("done")]


@pytest.fixture(scope="module")
def run(provider, tmp_path_factory):
    world = World.made(provider, tmp_path_factory.mktemp("long"), script())
    done = world.launch(AGENT)
    assert (done.code, done.out) == (0, "done\n")
    return world, sorted(world.stored(), key=lambda span: span.start_ns)


def results(request):
    """The texts of the tools' answers in a request, in order."""
    blocks = [block for message in request.body["messages"] for block in message["content"] if block != "text"]
    return [block["content"] for block in blocks if isinstance(block, dict) and block["type"] == "tool_result"]


def answers(span):
    """The same of a stored model call."""
    messages = json.loads(span.attributes["gen_ai.input.messages"])
    parts = [part for message in messages for part in message["parts"]]
    return [part["response"] for part in parts if part["type"] == "tool_call_response"]


def test_a_run_of_100_steps_takes_less_than_two_and_a_half_megabytes(run):
    world, spans = run
    texts = sum(len(value.encode()) for span in spans for value in span.attributes.values() if isinstance(value, str))
    stored = sum(path.stat().st_size for path in world.home.rglob("*.nxs"))
    assert texts > 30_000_000
    assert stored < 2_500_000


def test_each_call_is_read_back_with_all_that_it_was_asked(run):
    world, spans = run
    calls = [span for span in spans if kind_of(span) == "chat"]
    assert len(calls) == len(world.requests) == STEPS
    for span, request in zip(calls, world.requests, strict=True):
        assert answers(span) == results(request)


def test_show_and_diagnose_read_it(run):
    world, spans = run
    (_first, *tools) = [span for span in spans if kind_of(span) == "execute_tool"]
    done = world.nexus("show", "--content")
    assert done.code == 0
    assert tools[-1].attributes["gen_ai.tool.call.result"][:40].split("\n")[0] in done.out
    assert world.nexus("diagnose").code == 0


def test_over_otlp_every_call_is_whole(provider, tmp_path):
    world = World.made(provider, tmp_path, script()[-20:])
    with Receiver() as receiver:
        done = world.launch(AGENT, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, NEXUS_EXPORT="local,otlp", **SPAN_ONLY)
        sent = {span.span_id: span.attributes for span in receiver.spans}
    assert done.code == 0
    calls = sorted((span for span in receiver.spans if kind_of(span) == "chat"), key=lambda span: span.start_ns)
    assert [answers(span) for span in calls] == [results(request) for request in world.requests]
    assert {span.span_id: span.attributes for span in world.stored()} == sent


KILLED = AGENT.replace("    return", "    if given['key'] == 'file14': os.kill(os.getpid(), 9)\n    return").replace(
    "loop,", "loop, os,"
)


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_what_a_killed_run_left_is_whole_here_and_when_it_is_sent_later(provider, receiver, tmp_path, protocol):
    world = World.made(provider, tmp_path, script()[:20])
    to = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "NEXUS_EXPORT": "local,otlp", **SPAN_ONLY,
    }  # fmt: skip
    receiver.behaviour = "503"
    assert world.launch(KILLED, **to).code == -signal.SIGKILL
    stored = {span.span_id: span.attributes for span in world.stored()}
    receiver.behaviour = "ok"
    assert world.nexus("flush", **to).code == 0
    sent = {span.span_id: span.attributes for span in receiver.spans}
    calls = sorted((span for span in receiver.spans if kind_of(span) == "chat"), key=lambda span: span.start_ns)
    asked = [results(request) for request in world.requests]
    assert len(asked) == 15
    assert [answers(span) for span in calls] == asked
    assert sent == stored
