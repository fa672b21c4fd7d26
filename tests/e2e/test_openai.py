"""The example agent on OpenAI's SDK, run bare and under `nexus-instrument`, with nothing changed in it."""

import pytest

from tests.e2e.kit import LAUNCHER, OPENAI_EXAMPLE, PYTHON, World, kind_of, together
from tests.fakes.otlp import Receiver
from tests.fakes.provider import demo_script

WAYS = ["chat", "stream", "async", "responses"]
CALLS = ["get_weather", "get_weather", "get_weather", "to_fahrenheit", "to_fahrenheit"]


class Run:
    """One way of writing the agent, run bare, recorded locally and sent to a collector."""

    def __init__(self, provider, folder, how):
        bare, local, remote = (World.made(provider, folder, demo_script()) for _ in range(3))
        program = [PYTHON, OPENAI_EXAMPLE, "--how", how]
        with Receiver() as receiver:
            self.done = together(
                lambda: bare.run(*program),
                lambda: local.run(LAUNCHER, *program),
                lambda: remote.run(LAUNCHER, *program, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url),
            )
            self.spans = {"local": local.stored(), "remote": receiver.spans}
            self.malformed = receiver.malformed
        self.asked = [[request.body for request in world.requests] for world in (bare, local, remote)]
        self.billed = provider.usage_sent(remote.key)


@pytest.fixture(scope="module", params=WAYS)
def ran(request, provider, tmp_path_factory):
    return Run(provider, tmp_path_factory.mktemp("openai"), request.param)


def of(spans, kind):
    return sorted((span for span in spans if kind_of(span) == kind), key=lambda span: span.start_ns)


def test_the_program_behaves_as_it_does_bare(ran):
    seen = [(done.code, done.out, done.err) for done in ran.done]
    assert seen[0][0] == 0
    assert seen[1:] == [seen[0]] * 2
    assert ran.asked[1:] == [ran.asked[0]] * 2


@pytest.mark.parametrize("place", ["local", "remote"])
def test_there_is_one_root_five_calls_and_a_span_for_each_tool(ran, place):
    spans = ran.spans[place]
    (root,) = of(spans, "invoke_agent")
    assert (root.name, root.parent_id) == ("invoke_agent openai_agent", "")
    assert [span.name for span in of(spans, "chat")] == ["chat gpt-5.1"] * 5
    assert [span.attributes["gen_ai.tool.name"] for span in of(spans, "execute_tool")] == CALLS
    assert {(span.trace_id, span.parent_id) for span in spans if span is not root} == {(root.trace_id, root.span_id)}
    assert len(spans) == 1 + 5 + len(CALLS)


def test_the_collector_gets_what_was_billed_and_no_word_of_it(ran):
    spans = ran.spans["remote"]
    tokens = [
        sum(span.attributes[f"gen_ai.usage.{kind}_tokens"] for span in of(spans, "chat"))
        for kind in ("input", "output")
    ]
    assert tuple(tokens) == ran.billed
    assert ran.malformed == []
    assert "Atlantis" not in repr(spans)


@pytest.mark.parametrize("place", ["local", "remote"])
def test_the_tool_that_failed_is_told(ran, place):
    failed = [span.attributes["nexus.tool.failed"] for span in of(ran.spans[place], "execute_tool")]
    assert failed == [False, False, True, False, False]
