"""An agent of ten steps over the scripted provider, written in four ways: alone, recorded here, and sent."""

import json
import re
from itertools import pairwise

import pytest

from tests.e2e.kit import ERROR, EXAMPLE, LAUNCHER, PYTHON, World, kind_of, together
from tests.fakes.otlp import Receiver
from tests.fakes.provider import demo_script

WAYS = ["create", "stream", "async", "tool_runner"]


class Ten:
    """One way of writing the agent, run bare, recorded locally and sent to a collector."""

    def __init__(self, provider, folder, how):
        self.bare, self.local, self.remote = (World.made(provider, folder, demo_script(9)) for _ in range(3))
        program = [PYTHON, EXAMPLE, "--how", how]
        with Receiver() as receiver:
            self.done = together(
                lambda: self.bare.run(*program),
                lambda: self.local.run(LAUNCHER, *program),
                lambda: self.remote.run(LAUNCHER, *program, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url),
            )
            self.sent = receiver.spans
            self.metrics = receiver.metrics
            self.malformed = receiver.malformed
        self.stored = self.local.stored()

    def spans(self, place):
        return {"local": self.stored, "remote": self.sent}[place]


@pytest.fixture(scope="module", params=WAYS)
def ten(request, provider, tmp_path_factory):
    return Ten(provider, tmp_path_factory.mktemp("ten"), request.param)


def of(spans, kind):
    return [span for span in spans if kind_of(span) == kind]


def plain(request):
    """A request without what differs between two runs of one program: the key, and where the store is."""
    headers = {name: value for name, value in request.headers.items() if name not in {"x-api-key", "authorization"}}
    return request.path, headers, request.body


def without_tracebacks(err):
    """What was printed, but for the frames of tracebacks: the tool runner prints one, and ours is among them."""
    return [line for line in err.splitlines() if not line.startswith("  ")]


def test_the_program_behaves_as_it_does_bare(ten):
    seen = [(done.code, done.out, without_tracebacks(done.err)) for done in ten.done]
    assert seen[0][0] == 0
    assert seen[1:] == [seen[0]] * 2


def test_the_requests_are_those_of_the_bare_program(ten):
    bare, local, remote = ([plain(one) for one in world.requests] for world in (ten.bare, ten.local, ten.remote))
    assert len(bare) == 10
    assert local == bare
    assert remote == bare


@pytest.mark.parametrize("place", ["local", "remote"])
def test_there_is_one_root_ten_calls_and_a_span_for_each_tool(ten, place):
    spans = ten.spans(place)
    (root,) = of(spans, "invoke_agent")
    asked = [b["name"] for r in ten.bare.requests for b in r.reply["content"] if b["type"] == "tool_use"]
    tools = sorted(of(spans, "execute_tool"), key=lambda span: span.start_ns)
    assert root.parent_id == ""
    assert root.name == "invoke_agent anthropic_agent"
    assert [span.name for span in of(spans, "chat")] == ["chat claude-sonnet-5-5"] * 10
    assert [span.attributes["gen_ai.tool.name"] for span in tools] == asked
    assert len(spans) == 1 + 10 + len(asked)


@pytest.mark.parametrize("place", ["local", "remote"])
def test_all_of_it_hangs_under_the_root(ten, place):
    spans = ten.spans(place)
    (root,) = of(spans, "invoke_agent")
    assert {(span.trace_id, span.parent_id) for span in spans if span is not root} == {(root.trace_id, root.span_id)}


@pytest.mark.parametrize("place", ["local", "remote"])
def test_every_tool_has_the_call_id_the_model_gave_it(ten, place):
    asked = [b["id"] for r in ten.bare.requests for b in r.reply["content"] if b["type"] == "tool_use"]
    got = [span.attributes["gen_ai.tool.call.id"] for span in of(ten.spans(place), "execute_tool")]
    assert sorted(got) == sorted(asked)


@pytest.mark.parametrize("place", ["local", "remote"])
def test_the_tokens_are_those_the_provider_sent(ten, place):
    spans = ten.spans(place)
    world = {"local": ten.local, "remote": ten.remote}[place]
    (root,) = of(spans, "invoke_agent")
    names = ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"]
    sums = tuple(sum(span.attributes.get(name, 0) for span in spans) for name in names)
    totals = root.attributes["nexus.usage.input_tokens"], root.attributes["nexus.usage.output_tokens"]
    assert sums == totals == world.provider.usage_sent(world.key)


@pytest.mark.parametrize("place", ["local", "remote"])
def test_only_the_tool_that_failed_is_an_error(ten, place):
    (failed,) = (span for span in ten.spans(place) if span.status == ERROR)
    assert failed.name == "execute_tool get_weather"
    assert {span.status for span in ten.spans(place) if span is not failed} == {0}


@pytest.mark.parametrize("place", ["local", "remote"])
def test_times_are_in_order(ten, place):
    spans = ten.spans(place)
    (root,) = of(spans, "invoke_agent")
    chats = sorted(of(spans, "chat"), key=lambda span: span.start_ns)
    assert all(before.end_ns <= after.start_ns for before, after in pairwise(chats))
    assert all(root.start_ns <= span.start_ns <= span.end_ns <= root.end_ns for span in spans)


def test_what_is_sent_and_what_is_stored_differ_by_content_only(ten):
    def facts(spans):
        kept = r"gen_ai\.(request|response\.(finish|model|id)|operation|provider|tool\.(name|call\.id)|usage)|nexus\."
        changing = r"nexus\.(hash|.*duration|.*bytes|content|export|.*\.ms|.*chunk)"
        return sorted(
            (span.start_ns and kind_of(span), span.attributes.get("gen_ai.tool.call.id", ""), str(sorted(
                (name, value) for name, value in span.attributes.items()
                if re.match(kept, name) and not re.match(changing, name) and not name.endswith(".hash")
            ))) for span in spans
        )  # fmt: skip

    assert facts(ten.sent) == facts(ten.stored)


def test_content_is_here_and_not_there(ten):
    chats = sorted(of(ten.stored, "chat"), key=lambda span: span.start_ns)
    assert "How warm" in chats[0].attributes["gen_ai.input.messages"]
    for chat, request in zip(chats, ten.local.requests, strict=True):
        # the tool runner sends the new messages only
        assert len(json.loads(chat.attributes["gen_ai.input.messages"])) == len(request.body["messages"])
    assert not any("messages" in name and "gen_ai" in name for span in ten.sent for name in span.attributes)


def test_metrics_are_sent_once_for_each_call(ten):
    last = {metric.name: metric for metric in ten.metrics}
    assert sum(count for _, (count, _sum) in last["gen_ai.client.inference.duration"].points) == 10
    assert sum(count for _, (count, _sum) in last["gen_ai.invoke_agent.duration"].points) == 1
    assert ten.malformed == []


def test_nothing_is_left_to_send(ten):
    assert ten.remote.stored() == []
