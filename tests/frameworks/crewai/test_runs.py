"""The runs of CrewAI: crews, flows, agents, delegation, what goes wrong, and what is beneath."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import crewai
import pytest
from crewai import Crew, Process
from crewai.flow.flow import Flow, start
from crewai.knowledge.knowledge import Knowledge
from crewai.knowledge.storage.knowledge_storage import KnowledgeStorage
from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from nexus_otel.instrumentors.crewai import CrewAIInstrumentor
from tests.fakes.provider import API_ERROR, OVERFLOW, Provider, Reply, ToolUse, Usage, rate_limited
from tests.frameworks.crewai.crewai_cases import FOUND, MODEL, NATIVE, VERSION, Find, Maker, asks, client, says
from tests.kit.cases import CANARY, loaded
from tests.kit.conventions import violations
from tests.kit.fixtures import Kept, failures_allowed
from tests.kit.recording import Recording, instrumented, trace_id, values

CHAT, TOOL, AGENT, CREW = f"chat {MODEL}", "execute_tool find", "invoke_agent Keeper", "invoke_workflow aviary"
ONE_TOOL = f"{AGENT}\n  {CHAT}\n  {TOOL}\n  {CHAT}"
ONE_CREW = f"{CREW}\n  " + ONE_TOOL.replace("\n", "\n  ")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # CrewAI warns of its own old names
needs_native = pytest.mark.skipif(not NATIVE, reason="tools are asked for in a text")


@pytest.fixture
def seen() -> Iterator[Recording]:
    with instrumented(CrewAIInstrumentor, AnthropicInstrumentor) as recording:
        yield recording
    assert [problem for span in ours(recording) for problem in violations(span)] == []


@pytest.fixture
def make(provider: Provider) -> Iterator[Any]:
    """Give what makes things on a model that says what it is given."""
    with_clients = []

    def maker(*steps: Any, **options: Any) -> Maker:
        key = loaded(steps, provider)
        opened = client(provider.url, key, **options)
        with_clients.append(opened)
        made = opened.__enter__()
        made.key = key
        return made

    yield maker
    for opened in with_clients:
        opened.__exit__(None, None, None)


def ours(seen: Recording) -> list[Any]:
    scope = CrewAIInstrumentor.__module__
    return [span for span in seen.spans if span.instrumentation_scope and span.instrumentation_scope.name == scope]


def sums(seen: Recording) -> tuple[int, int]:
    chats = [values(span) for span in seen.all("chat")]
    names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    return tuple(sum(chat.get(name, 0) for chat in chats) for name in names)  # type: ignore[return-value]


def totals(seen: Recording, name: str) -> tuple[int, int]:
    root = values(seen.one(name))
    return root["nexus.usage.input_tokens"], root["nexus.usage.output_tokens"]


# -- over an SDK that is instrumented too ------------------------------------------------------------------------------


def test_one_span_a_call_with_what_the_sdk_knows(seen: Recording, make: Any, provider: Provider) -> None:
    maker = make(*FOUND)
    before = otel_context.get_current()
    maker.crew().kickoff(inputs={"bird": CANARY})
    assert otel_context.get_current() is before
    assert seen.tree() == ONE_CREW
    assert sums(seen) == totals(seen, CREW) == totals(seen, AGENT) == provider.usage_sent(maker.key)
    chat = values(seen.all("chat")[0])
    assert chat["server.address"] == "127.0.0.1"
    assert chat["gen_ai.response.finish_reasons"] == (("tool_call",) if NATIVE else ("stop",))
    assert chat["gen_ai.response.id"].startswith("msg_")
    assert CANARY not in seen.text()


def test_a_streamed_answer_is_one_span_with_its_first_chunk(seen: Recording, make: Any, provider: Provider) -> None:
    maker = make(*FOUND, stream=True)
    maker.agent().kickoff(f"Where is the {CANARY}?")
    assert seen.tree() == ONE_TOOL
    for span in seen.all("chat"):
        assert values(span)["gen_ai.request.stream"] is True
        assert values(span)["gen_ai.response.time_to_first_chunk"] > 0
    assert sums(seen) == provider.usage_sent(maker.key)


def test_a_retry_of_the_sdk_is_an_event(seen: Recording, make: Any, provider: Provider) -> None:
    maker = make(rate_limited(), says(), max_retries=2)
    maker.agent(tools=[]).kickoff("Hello")
    assert seen.tree() == f"{AGENT}\n  {CHAT}"
    assert len([event for event in seen.one("chat").events if event.name == "nexus.retry"]) == 1
    assert sums(seen) == provider.usage_sent(maker.key)


# -- tools -------------------------------------------------------------------------------------------------------------


class Span(BaseTool):  # type: ignore[misc]
    name: str = "span"
    description: str = "Name what is current."

    def _run(self) -> str:
        found = trace.get_current_span().name
        trace.get_tracer("mine", tracer_provider=PROVIDERS[-1]).start_span("mine").end()
        return str(found)


PROVIDERS: list[Any] = []


def test_a_tool_has_its_own_span_current(seen: Recording, make: Any) -> None:
    PROVIDERS.append(seen.tracer_provider)
    make(asks("span"), says()).crew(make(asks("span"), says()).agent(tools=[Span()])).kickoff(inputs={"bird": "x"})
    assert "    execute_tool span\n      mine" in seen.tree()


@pytest.mark.parametrize(
    ("asked", "error", "known"),
    [
        pytest.param({"name": "find", "bird": "dodo"}, "LookupError", True, id="failing"),
        pytest.param({"name": "seek", "bird": "dodo"}, "unknown_tool", False, id="unknown"),
        pytest.param({"name": "find", "fish": "cod"}, "ValueError" if VERSION >= (1, 9) else None, True, id="misused"),
    ],
)
def test_a_call_that_fails_is_one_span_that_says_so(
    seen: Recording, make: Any, asked: dict[str, str], error: str | None, known: bool
) -> None:
    make(asks(**asked), says()).crew().kickoff(inputs={"bird": "x"})
    assert seen.tree() == ONE_CREW.replace("find", asked["name"])
    tool = seen.one("execute_tool")
    assert tool.status.status_code is StatusCode.ERROR
    assert values(tool)["error.type"] == (error or "ValueError")
    assert values(tool)["nexus.tool.known"] is known
    assert values(seen.one("invoke_agent"))["nexus.run.tool_calls"] == 1
    assert seen.one(CREW).status.status_code is StatusCode.UNSET
    assert CANARY not in seen.text()


@needs_native
def test_parallel_calls_are_each_one_span(seen: Recording, make: Any) -> None:
    three = Reply(tools=[ToolUse("find", {"bird": "a"}), ToolUse("find", {"bird": "b"}), ToolUse("seek", {})])
    make(three, says()).crew().kickoff(inputs={"bird": "x"})
    assert seen.names == {CREW: 1, AGENT: 1, CHAT: 2, TOOL: 2, "execute_tool seek": 1}
    ids = {values(span)["gen_ai.tool.call.id"] for span in seen.all("execute_tool")}
    assert len(ids) == 3
    assert len({trace_id(span) for span in seen.spans}) == 1


# -- what ends a run ---------------------------------------------------------------------------------------------------


def test_a_step_limit_is_told(seen: Recording, make: Any) -> None:
    maker = make(asks("find", bird="a"), *[says()] * 3)
    maker.crew(maker.agent(max_iter=1)).kickoff(inputs={"bird": "x"})
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "limit"
    assert seen.names[TOOL] == 1
    assert seen.one("invoke_agent").status.status_code is StatusCode.UNSET


def test_a_prompt_that_is_too_long_is_summarised(seen: Recording, make: Any, provider: Provider) -> None:
    maker = make(OVERFLOW, *[says()] * 6)
    maker.crew(maker.agent(respect_context_window=True, tools=[])).kickoff(inputs={"bird": "x"})
    first = values(seen.all("chat")[0])
    assert first["nexus.error.class"] == "context_overflow"
    assert first["nexus.context.limit"] == 200000
    assert seen.names[CHAT] == len([request for request in provider.requests if request.path == "/v1/messages"])
    assert len({trace_id(span) for span in seen.spans}) == 1
    assert sums(seen) == provider.usage_sent(maker.key)


def test_a_prompt_that_is_too_long_ends_the_program_if_asked_to(seen: Recording, make: Any) -> None:
    maker = make(*[OVERFLOW] * 4)
    crew = maker.crew(maker.agent(respect_context_window=False, tools=[]))
    with pytest.raises(SystemExit):
        crew.kickoff(inputs={"bird": "x"})
    assert seen.tree() == f"{CREW}\n  {AGENT}\n    {CHAT}"
    assert {span.status.status_code for span in seen.spans} == {StatusCode.ERROR}


def test_a_provider_that_is_down_fails_the_run(seen: Recording, make: Any) -> None:
    with pytest.raises(Exception, match="Internal server error"):
        make(*[API_ERROR] * 8).crew().kickoff(inputs={"bird": "x"})
    assert seen.tree().startswith(f"{CREW}\n  {AGENT}\n    {CHAT}")
    assert {values(span)["error.type"] for span in seen.spans} == {"api_error"}
    assert [len(span.events) for span in seen.all("invoke")] == [0] * len(seen.all("invoke"))
    assert seen.names[CREW] == seen.names[AGENT] == 1


# -- inside one another ------------------------------------------------------------------------------------------------


def test_work_that_is_delegated_is_an_agent_in_a_tool(seen: Recording, make: Any) -> None:
    name = "delegate_work_to_coworker" if NATIVE else "Delegate work to coworker"
    work = {"task": "look", "context": "none", "coworker": "Helper"}
    maker = make(asks(name, **work), says("found"), *[says()] * 2)
    crew = maker.crew(maker.agent(allow_delegation=True), maker.agent("Helper", tools=[]))
    crew.tasks = crew.tasks[:1]
    crew.kickoff(inputs={"bird": "x"})
    assert seen.tree() == "\n".join(
        (CREW, f"  {AGENT}", f"    {CHAT}", f"    execute_tool {name}", "      invoke_agent Helper", f"        {CHAT}",
         f"    {CHAT}")
    )  # fmt: skip
    assert values(seen.one(CREW))["nexus.run.steps"] == 3
    assert values(seen.one(AGENT))["nexus.run.tool_calls"] == 1


def test_a_manager_is_an_agent_too(seen: Recording, make: Any) -> None:
    maker = make(says())
    maker.crew(maker.agent(tools=[]), process=Process.hierarchical, manager_llm=maker.llm).kickoff(inputs={"bird": "x"})
    assert seen.tree() == f"{CREW}\n  invoke_agent Crew Manager\n    {CHAT}"


def test_agents_after_one_another_are_one_crew(seen: Recording, make: Any, provider: Provider) -> None:
    maker = make(says(), says())
    maker.crew(maker.agent(tools=[]), maker.agent("Helper", tools=[])).kickoff(inputs={"bird": "x"})
    assert seen.tree() == f"{CREW}\n  {AGENT}\n    {CHAT}\n  invoke_agent Helper\n    {CHAT}"
    assert totals(seen, CREW) == provider.usage_sent(maker.key)


def test_a_crew_in_a_flow_is_part_of_it(seen: Recording, make: Any) -> None:
    crew = make(*FOUND).crew()

    class Outer(Flow):  # type: ignore[type-arg]
        @start()
        def go(self) -> str:
            return str(crew.kickoff(inputs={"bird": "x"}).raw)

    Outer().kickoff(inputs={"id": "session-1"})
    assert seen.tree() == "invoke_workflow Outer\n  " + ONE_CREW.replace("\n", "\n  ")
    assert {values(span)["gen_ai.conversation.id"] for span in seen.all("invoke_workflow Outer")} == {"session-1"}


@pytest.mark.skipif(VERSION < (1, 9), reason="an agent starts a loop of its own")
def test_an_agent_in_a_flow_s_loop_is_one_run(seen: Recording, make: Any) -> None:
    maker = make(*FOUND)

    class Outer(Flow):  # type: ignore[type-arg]
        @start()
        async def go(self) -> str:
            return str((await maker.agent().kickoff("Where?")).raw)

    Outer().kickoff()
    assert seen.tree() == "invoke_workflow Outer\n  " + ONE_TOOL.replace("\n", "\n  ")


# -- batches, threads, tasks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["kickoff_for_each", "kickoff_for_each_async", "akickoff_for_each"])
def test_each_of_several_inputs_is_a_trace(seen: Recording, make: Any, way: str) -> None:
    crew = make(*[says()] * 2).crew()
    if not hasattr(crew, way):
        pytest.skip("not there yet")
    crew.agents[0].tools = []
    with seen.tracer.start_as_current_span("batch") as batch:
        made = getattr(crew, way)(inputs=[{"bird": "a"}, {"bird": "b"}])
        if way != "kickoff_for_each":
            asyncio.run(_awaited(made))
    roots = seen.all(CREW)
    assert [[link.context.span_id for link in root.links] for root in roots] == [[batch.get_span_context().span_id]] * 2
    assert len({trace_id(root) for root in roots}) == 2
    assert seen.names == {"batch": 1, CREW: 2, AGENT: 2, CHAT: 2}


async def _awaited(made: Any) -> Any:
    return await made


def test_a_task_in_a_thread_is_part_of_its_crew(seen: Recording, make: Any) -> None:
    crew = make(*FOUND).crew()
    crew.tasks[0].async_execution = True
    crew.kickoff(inputs={"bird": "x"})
    assert seen.tree() == ONE_CREW


def test_a_time_limit_keeps_the_tree(seen: Recording, make: Any) -> None:
    maker = make(*FOUND)
    maker.crew(maker.agent(max_execution_time=30)).kickoff(inputs={"bird": "x"})
    assert seen.tree() == ONE_CREW


def test_crews_in_threads_are_traces_apart(seen: Recording, make: Any) -> None:
    crews = [make(*FOUND).crew() for _ in range(4)]
    threads = [threading.Thread(target=crew.kickoff, kwargs={"inputs": {"bird": "x"}}) for crew in crews]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({trace_id(span) for span in seen.spans}) == 4
    assert seen.names == {CREW: 4, AGENT: 4, CHAT: 8, TOOL: 4}


@pytest.mark.skipif(VERSION < (1, 8), reason="crews are not streamed yet")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_streamed_crew_is_one_run(seen: Recording, make: Any, asynchronous: bool) -> None:
    maker = make(*FOUND, stream=True)
    crew = maker.crew(stream=True)

    async def read() -> None:
        async for _ in await crew.kickoff_async(inputs={"bird": "x"}):
            pass

    if asynchronous:
        asyncio.run(read())
    else:
        assert list(crew.kickoff(inputs={"bird": "x"}))
    assert seen.tree() == ONE_CREW


@pytest.mark.skipif(VERSION < (1, 7), reason="a crew runs in a thread, which nothing cancels")
def test_a_crew_that_is_cancelled_is_no_failure(seen: Recording, make: Any) -> None:
    async def cancel() -> None:
        work = asyncio.ensure_future(make(Reply("late", delay_s=1.5)).crew().akickoff(inputs={"bird": "x"}))
        await asyncio.sleep(0.5)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(cancel())
    root = seen.one(CREW)
    assert root.status.status_code is StatusCode.UNSET
    assert values(root)["nexus.run.closed_by"] == "cancelled"


# -- models of users ---------------------------------------------------------------------------------------------------


def test_a_model_that_a_user_wrote_is_recorded(seen: Recording) -> None:
    class Parrot(BaseLLM):
        def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> str:
            return "Thought: I now know the final answer\nFinal Answer: hello"

        def supports_function_calling(self) -> bool:
            return False

    Maker("http://unused", "unused").agent(llm=Parrot(model="parrot-1", provider="parrots"), tools=[]).kickoff("Hello")
    assert seen.tree() == f"{AGENT}\n  chat parrot-1"
    assert values(seen.one("chat"))["gen_ai.provider.name"] == "parrots"


@pytest.mark.skipif(VERSION < (1, 15, 30), reason="the guard is not there yet")
def test_the_library_s_own_guard_fails_the_run(seen: Recording, make: Any) -> None:
    with pytest.raises(Exception, match="same arguments"):
        make(*[asks("find", bird="a")] * 8).crew().kickoff(inputs={"bird": "x"})
    assert {values(span)["error.type"] for span in seen.all("invoke")} == {"ToolExecutionFailedError"}
    assert seen.names[TOOL] + sum("nexus.derived" in values(span) for span in seen.all("execute_tool")) >= 1


def test_a_usage_without_an_sdk_beneath_is_crewai_s(make: Any, provider: Provider) -> None:
    maker = make(asks("find", Usage(100, 20, cache_read=30), bird="a"), says())
    with instrumented(CrewAIInstrumentor) as alone:
        maker.agent(tools=[Find()]).kickoff("Where?")
    assert sums(alone) == provider.usage_sent(maker.key) or VERSION < (1, 15)


# -- knowledge ---------------------------------------------------------------------------------------------------------


def test_a_search_in_knowledge_is_a_retrieval(seen: Recording) -> None:
    class Storage(KnowledgeStorage):
        def search(self, query: list[str], *_args: Any, **_more: Any) -> list[Any]:
            return [{"id": "one", "content": CANARY, "metadata": {}, "score": 0.9}]

    is_model = hasattr(Storage, "model_construct")
    storage = Storage.model_construct() if is_model else Storage.__new__(Storage)
    storage.collection_name = "birds"
    knowledge = Knowledge.model_construct(collection_name="birds", sources=[], storage=storage)
    assert knowledge.query(["where"], results_limit=3)
    search = values(seen.one("retrieval"))
    assert seen.one("retrieval").name == "retrieval birds"
    assert search["gen_ai.retrieval.top_k"] == 3
    assert CANARY not in seen.text()


# -- versions that are not as we know them -----------------------------------------------------------------------------


def test_a_version_without_a_method_is_told_once_and_the_rest_is_recorded(make: Any) -> None:
    maker = make(*FOUND)
    gone = Crew.kickoff_for_each
    del Crew.kickoff_for_each
    try:
        with failures_allowed(), Kept("nexus_otel") as kept, instrumented(CrewAIInstrumentor) as recording:
            maker.crew().kickoff(inputs={"bird": "x"})
    finally:
        Crew.kickoff_for_each = gone
    (line,) = kept.lines
    assert f"crewai {crewai.__version__} has no crewai.crew.Crew.kickoff_for_each" in line
    assert recording.tree() == ONE_CREW


@pytest.mark.skipif(VERSION < (1, 15, 29), reason="what it lacks is told instead")
def test_a_newer_version_is_told_and_recorded_all_the_same(make: Any) -> None:
    maker = make(*FOUND)
    with (
        mock.patch.object(crewai, "__version__", "2.3.0"),
        Kept("nexus_otel") as kept,
        instrumented(CrewAIInstrumentor),
    ):
        maker.crew().kickoff(inputs={"bird": "x"})
    assert any(
        "crewai 2.3.0 is newer than is known" in line and "crewai.crew.Crew.kickoff" in line for line in kept.lines
    )


def test_details_are_the_tasks_and_the_methods_of_flows(make: Any) -> None:
    crew = make(*FOUND).crew()

    class Outer(Flow):  # type: ignore[type-arg]
        @start()
        def go(self) -> str:
            return str(crew.kickoff(inputs={"bird": "x"}).raw)

    with instrumented(CrewAIInstrumentor, NEXUS_DETAIL="full") as recording:
        Outer().kickoff()
    assert recording.tree().splitlines()[:5] == [
        "invoke_workflow Outer", "  method go", f"    {CREW}", "      task look 0", f"        {AGENT}"
    ]  # fmt: skip
