"""LlamaIndex over OpenAI's SDK, whose integration makes a stream's request only when the stream is read."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_index.llms.openai")

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI

from nexus_otel.instrumentors.llama_index import LlamaIndexInstrumentor, listener
from nexus_otel.instrumentors.openai import OpenAIInstrumentor
from tests.fakes.provider import Reply, ToolUse
from tests.frameworks.llama_index.make import agent
from tests.frameworks.llama_index.test_runs import ran
from tests.kit.conventions import violations
from tests.kit.recording import instrumented, values

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CHAT = "chat gpt-4o-mini"
ASK, DONE = Reply(tools=[ToolUse("find", {"bird": "jay"})]), Reply("It sits in the cage.")
ASKED = [ChatMessage("where?")]


@pytest.fixture(params=["alone", "over the SDK"])
def seen(request):
    beneath = () if request.param == "alone" else (OpenAIInstrumentor,)
    with instrumented(LlamaIndexInstrumentor, *beneath) as recording:
        yield recording
        assert [problem for span in recording.spans for problem in violations(span)] == []
        assert len(listener._open) == 0


def model(provider, *steps):
    provider.load(steps)
    return OpenAI(model="gpt-4o-mini", api_base=f"{provider.url}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_run_is_one_tree(seen, provider, streaming):
    one = model(provider, ASK, DONE)

    async def run():
        try:
            return await agent(one, streaming=streaming).run("where?")
        finally:
            await one._get_aclient().close()

    assert str(ran(run)) == "It sits in the cage."
    assert seen.tree() == f"invoke_agent keeper\n  {CHAT}\n  execute_tool find\n  {CHAT}"
    chat = values(seen.all("chat")[0])
    assert chat["gen_ai.provider.name"] == "openai"
    if not streaming:  # a stream's tokens are sent only when they are asked for
        totals = values(seen.spans[0])
        assert (totals["nexus.usage.input_tokens"], totals["nexus.usage.output_tokens"]) == provider.usage_sent()
        assert chat["gen_ai.response.finish_reasons"] == ("tool_call",)


def test_a_stream_is_one_span_whose_request_is_inside(seen, provider):
    one = model(provider, DONE)
    *_, last = one.stream_chat(ASKED)
    one._get_client().close()
    assert str(last) == "assistant: It sits in the cage."
    assert seen.tree() == CHAT
    chat = values(seen.spans[0])
    assert chat["gen_ai.request.stream"] is True
    assert chat["server.address"] == "127.0.0.1"
    if OpenAIInstrumentor()._recorder is not None:
        assert chat["gen_ai.response.id"]
        assert chat["gen_ai.response.finish_reasons"] == ("stop",)


def test_the_context_window_that_the_library_knows_is_on_the_model_s_span(seen, provider):
    model(provider, DONE).chat(ASKED)
    (span,) = seen.spans
    assert values(span)["nexus.context.window"] == 128_000
