"""Indexes of LlamaIndex: query engines, searches and embeddings, and chat engines over them."""

from __future__ import annotations

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import QueryEngineTool

from nexus_otel.instrumentors.llama_index import LlamaIndexInstrumentor, listener
from tests.fakes.provider import Reply, ToolUse
from tests.frameworks.llama_index.make import MODEL, agent, kept, llm
from tests.frameworks.llama_index.test_runs import ran
from tests.kit.conventions import violations
from tests.kit.recording import content_mode, instrumented, values

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CHAT = f"chat {MODEL}"
EMBED = "embeddings unknown"
QUERY = f"invoke_workflow kit\n  retrieval\n    {EMBED}\n  {CHAT}"


@pytest.fixture
def seen():
    with instrumented(LlamaIndexInstrumentor, **content_mode("SPAN_ONLY")) as recording:
        yield recording
        assert [problem for span in recording.spans for problem in violations(span)] == []
        assert len(listener._open) == 0


@pytest.fixture
def index():
    documents = [Document(text="The jay sits in the cage.", id_="d1"), Document(text="The dodo is dead.", id_="d2")]
    return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=3))


def test_a_query_is_a_workflow_with_its_search(index, seen, provider):
    provider.load([Reply("In the cage.")])
    engine = index.as_query_engine(llm=llm(provider.url), similarity_top_k=2)
    assert str(engine.query("Where is the jay?")) == "In the cage."
    assert seen.tree() == QUERY
    search = values(next(span for span in seen.spans if span.name == "retrieval"))
    assert search["gen_ai.retrieval.top_k"] == 2
    assert search["gen_ai.retrieval.query.text"] == "Where is the jay?"
    assert "in the cage" in search["gen_ai.retrieval.documents"]
    vectors = values(next(span for span in seen.spans if span.name == EMBED))
    assert vectors["gen_ai.embeddings.dimension.count"] == 3
    assert "Where is the jay?" in values(seen.spans[0])["gen_ai.input.messages"]
    assert "In the cage." in values(seen.spans[0])["gen_ai.output.messages"]


def test_the_same_awaited(index, seen, provider):
    provider.load([Reply("In the cage.")])
    engine = index.as_query_engine(llm=kept(llm(provider.url)))
    assert str(ran(lambda: _query(engine))) == "In the cage."
    assert seen.tree() == QUERY


async def _query(engine):
    return await engine.aquery("Where is the jay?")


def test_documents_are_embedded_at_once(seen):
    VectorStoreIndex.from_documents([Document(text="a"), Document(text="b")], embed_model=MockEmbedding(embed_dim=3))
    assert seen.tree() == EMBED


def test_a_query_as_a_tool_is_no_workflow_of_its_own(index, seen, provider):
    provider.load([Reply(tools=[ToolUse("birds", {"input": "Where?"})]), Reply("In the cage."), Reply("It is there.")])
    model = kept(llm(provider.url))
    tool = QueryEngineTool.from_defaults(index.as_query_engine(llm=model), name="birds", description="Knows birds.")
    ran(lambda: _run(agent(model, tool)))
    assert seen.tree() == (
        f"invoke_agent keeper\n  {CHAT}\n  execute_tool birds\n    retrieval\n      {EMBED}\n    {CHAT}\n  {CHAT}"
    )


async def _run(one):
    return await one.run("where?")


def test_a_chat_engine_is_a_workflow(index, seen, provider):
    provider.load([Reply("In the cage.")])
    engine = index.as_chat_engine(chat_mode="context", llm=llm(provider.url), memory=ChatMemoryBuffer.from_defaults())
    assert str(engine.chat("Where is the jay?")) == "In the cage."
    assert seen.tree() == QUERY
