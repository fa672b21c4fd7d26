"""The example, run as a person runs it: under the launcher, in a process of its own."""

import pytest

from tests.e2e.kit import EXAMPLE, LAUNCHER, PYTHON, World, together
from tests.fakes.provider import Provider, demo_script

HERE = EXAMPLE.with_name("llama_index_agent.py")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    with Provider() as provider:
        worlds = [World.made(provider, tmp_path_factory.mktemp("llama"), demo_script(4)) for _ in range(2)]
        bare, launched = together(
            lambda: worlds[0].run(PYTHON, "-W", "ignore", HERE),
            lambda: worlds[1].run(LAUNCHER, PYTHON, "-W", "ignore", HERE),
        )
        yield bare, launched, worlds, worlds[1].stored()


def test_the_program_behaves_as_it_does_bare(ran):
    bare, launched, worlds, _ = ran
    assert bare.code == 0, bare.err
    assert (launched.code, launched.out) == (bare.code, bare.out)
    assert [request.body for request in worlds[0].requests] == [request.body for request in worlds[1].requests]


def test_there_is_one_run_with_a_span_for_each_call(ran):
    _, launched, worlds, spans = ran
    assert launched.code == 0, launched.err
    (root,) = [span for span in spans if span.name == "invoke_agent weather"]
    chats = [span for span in spans if span.name.startswith("chat ")]
    tools = [span for span in spans if span.name.startswith("execute_tool ")]
    assert (len(chats), len(tools), len(spans)) == (5, 5, 11)
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert {span.parent_id for span in chats + tools} == {root.span_id}
    sent = worlds[1].provider.usage_sent(worlds[1].key)
    sums = tuple(sum(s.attributes[f"gen_ai.usage.{way}_tokens"] for s in chats) for way in ("input", "output"))
    assert sums == sent
    assert (root.attributes["nexus.usage.input_tokens"], root.attributes["nexus.usage.output_tokens"]) == sent
    assert [span.attributes.get("error.type") for span in tools].count("ValueError") == 1
