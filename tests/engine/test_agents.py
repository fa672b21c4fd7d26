"""Runs that a framework makes: one tree, whatever is beneath, and the caller's context as it was."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import replace

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from nexus_otel.engine.limits import AgentGuardError
from nexus_otel.engine.listener import carried
from nexus_otel.genai.operations import AgentResult, Retrieval, ToolCall, ToolResult
from tests.engine import toy_framework as framework
from tests.engine.toy import TOOLS, Answer, Asked, Model, ModelError, Tool, ToyInstrumentor, answers, calls, loop, user
from tests.engine.toy_framework import (
    Agent,
    Apart,
    Embedder,
    FrameworkInstrumentor,
    Paused,
    Store,
    Wrapped,
    listener,
    told,
)
from tests.kit.conventions import violations
from tests.kit.recording import content_mode, instrumented, trace_id, values

ONE_TOOL = "invoke_agent helper\n  chat toy-1\n  execute_tool add\n  chat toy-1"


@pytest.fixture
def seen():
    with instrumented(FrameworkInstrumentor, ToyInstrumentor) as recording:
        yield recording


def agent(*says, tools=(), **more):
    return Agent(Model(*(says or (calls(), Answer("done")))), Tool(), *tools, **more)


def span(seen, name):
    return next(each for each in seen.spans if each.name.startswith(name))


def check(seen):
    assert [problem for each in seen.spans for problem in violations(each)] == []


# -- one tree ----------------------------------------------------------------------------------------------------------


def drained(stream):
    return list(stream)[-1]


async def drained_async(stream):
    return [text async for text in stream][-1]


WAYS = {
    "invoke": lambda one: one.invoke("q"),
    "stream": lambda one: drained(one.stream("q")),
    "ainvoke": lambda one: asyncio.run(one.ainvoke("q")),
    "astream": lambda one: asyncio.run(drained_async(one.astream("q"))),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_one_tree_however_it_is_called(seen, way):
    before = otel_context.get_current()
    assert WAYS[way](agent()) == "done"
    assert otel_context.get_current() is before
    assert seen.tree() == ONE_TOOL
    root = values(span(seen, "invoke_agent"))
    assert root["nexus.run.steps"] == 2
    assert root["nexus.run.tool_calls"] == 1
    assert root["nexus.usage.input_tokens"] == 20
    assert root["gen_ai.response.finish_reasons"] == ("stop",)
    assert "nexus.derived" not in values(span(seen, "execute_tool"))
    check(seen)


@pytest.mark.parametrize("way", WAYS)
def test_its_reader_has_its_own_context(seen, way):
    if "stream" not in way:
        pytest.skip("returns a value")
    mine = seen.tracer.start_span("mine")
    token = otel_context.attach(trace.set_span_in_context(mine))
    names = []

    async def read():
        async for _ in agent().astream("q"):
            names.append(trace.get_current_span().name)

    if way == "stream":
        names += [trace.get_current_span().name for _ in agent().stream("q")]
    else:
        asyncio.run(read())
    otel_context.detach(token)
    mine.end()
    assert set(names) == {"mine"}


def test_the_library_beneath_makes_no_second_span(seen):
    Agent(Wrapped(Model(calls(), Answer("done"))), Tool()).invoke("q")
    assert seen.tree() == ONE_TOOL.replace("toy-1", "an-alias")
    chat = values(span(seen, "chat"))
    assert chat["gen_ai.provider.name"] == "toy"
    assert chat["gen_ai.usage.input_tokens"] == 10
    assert chat["gen_ai.response.id"] == "answer_1"
    assert chat["gen_ai.request.temperature"] == 1.0
    assert values(span(seen, "invoke_agent"))["nexus.usage.input_tokens"] == 20


def test_the_provider_s_failure_is_that_of_the_call(seen):
    with pytest.raises(ModelError):
        Agent(Wrapped(Model(ModelError("no"))), Tool()).invoke("q")
    assert {each.name: values(each)["error.type"] for each in seen.spans} == {
        "invoke_agent helper": "ModelError", "chat an-alias": "ModelError"
    }  # fmt: skip


def test_an_unknown_tool_is_seen_by_its_answer(seen):
    agent(calls("nothing"), Answer("done")).invoke("q")
    tool = span(seen, "execute_tool nothing")
    assert values(tool)["nexus.tool.known"] is False
    assert values(tool)["nexus.derived"] is True
    assert tool.status.status_code is StatusCode.ERROR


def test_parallel_calls_are_each_one_span(seen):
    asked = Answer("", (Asked("add", {"n": 1}), Asked("add", {"n": 2}), Asked("nothing")))
    agent(asked, Answer("done")).invoke("q")
    assert seen.names == {"invoke_agent helper": 1, "chat toy-1": 2, "execute_tool add": 2, "execute_tool nothing": 1}
    assert values(span(seen, "invoke_agent"))["nexus.run.tool_calls"] == 3
    ids = {values(each)["gen_ai.tool.call.id"] for each in seen.spans if each.name.startswith("execute_tool")}
    assert len(ids) == 3


def test_runs_with_the_same_ids_are_apart(seen):
    agent().invoke("q")
    agent().invoke("q")
    assert len({trace_id(each) for each in seen.spans}) == 2
    assert seen.tree() == f"{ONE_TOOL}\n{ONE_TOOL}"


def test_a_run_without_a_name_has_the_service_s(seen):
    agent(name=None).invoke("q")
    assert span(seen, "invoke_agent").name == "invoke_agent kit"
    assert values(span(seen, "execute_tool"))["gen_ai.agent.name"] == "kit"


def test_a_conversation_is_on_every_span(seen):
    agent().invoke("q", conversation="c1")
    assert {values(each)["gen_ai.conversation.id"] for each in seen.spans} == {"c1"}


# -- inside one another ------------------------------------------------------------------------------------------------


def test_an_agent_in_a_tool_is_part_of_the_run(seen):
    inner = agent(Answer("inner"), name="expert")
    agent(calls("wait"), Answer("done"), tools=[Tool("wait", lambda: inner.invoke("q"))]).invoke("q")
    assert len({trace_id(each) for each in seen.spans}) == 1
    assert values(span(seen, "invoke_agent helper"))["nexus.run.steps"] == 3
    assert values(span(seen, "invoke_agent expert"))["nexus.run.steps"] == 1


def test_a_hand_written_loop_in_a_tool_is_a_run_of_its_own_there(seen):
    inner = Model(calls(), Answer("x"))
    Agent(Model(calls("wait"), Answer("done")), Tool("wait", lambda: loop(inner))).invoke("q")
    assert "invoke_agent kit" in seen.names
    assert len({trace_id(each) for each in seen.spans}) == 1


def test_a_framework_s_agent_in_a_hand_written_loop_is_part_of_it(seen):
    model = Model(calls(), Answer("done"))
    answer = model.ask([{"role": "user", "text": "q"}])
    agent(Answer("inner"), name="expert").invoke("q")
    model.ask(
        [
            {"role": "user", "text": "q"},
            {"role": "assistant", "answer": answer},
            {"role": "tool", "id": answer.calls[0].id, "answer": "2", "error": False},
        ]
    )
    assert len({trace_id(each) for each in seen.spans}) == 1
    assert values(span(seen, "invoke_agent kit"))["nexus.run.steps"] == 3


def test_a_workflow_holds_the_runs_in_it(seen):
    flow = agent(name="flow", workflow=True)
    flow.invoke("q")
    assert seen.tree() == (
        "invoke_workflow flow\n  invoke_agent kit\n    chat toy-1\n    execute_tool add\n    chat toy-1"
    )
    assert values(span(seen, "invoke_workflow"))["nexus.run.steps"] == 2
    check(seen)


def test_what_is_noise_inside_a_run_is_left_out(seen):
    inner = agent(Answer("inner"), name="inner", workflow=True)
    flow = Agent(Model(calls("wait"), Answer("done")), Tool("wait", lambda: inner.invoke("q", outermost=True)))
    flow.invoke("q", outermost=True)
    assert "invoke_workflow inner" not in seen.names
    assert "invoke_agent helper" in seen.names


def test_items_of_a_batch_are_traces_of_their_own(seen):
    with seen.tracer.start_as_current_span("batch") as batch:
        for _ in range(2):
            agent().invoke("q", apart=True)
    assert len({trace_id(each) for each in seen.spans}) == 3
    roots = [each for each in seen.spans if each.name == "invoke_agent helper"]
    assert [[link.context.span_id for link in root.links] for root in roots] == [[batch.context.span_id]] * 2


def test_a_batch_of_an_agent_is_a_trace_an_item(seen):
    one = Agent(Model(Answer("a"), Answer("b")), Tool())
    with seen.tracer.start_as_current_span("mine") as mine:
        one.batch(["q", "q"])
        assert trace.get_current_span() is mine
    assert len({trace_id(each) for each in seen.spans}) == 3
    roots = [each for each in seen.spans if each.name == "invoke_agent helper"]
    assert [[link.context.span_id for link in root.links] for root in roots] == [[mine.context.span_id]] * 2


def test_a_batch_inside_a_run_is_part_of_it(seen):
    inner = Agent(Model(Answer("a"), Answer("b")), Tool(), name="expert")
    agent(calls("wait"), Answer("done"), tools=[Tool("wait", lambda: str(inner.batch(["q", "q"])))]).invoke("q")
    assert seen.names["invoke_agent expert"] == 2
    assert len({trace_id(each) for each in seen.spans}) == 1


@pytest.mark.parametrize("with_id", [True, False])
def test_a_loop_is_one_run_though_its_model_is_asked_in_other_tasks(seen, with_id):
    async def run():
        model, messages = Apart(Model(calls(), Answer("done"))), [user("q")]
        while (answer := await model.ask(messages)).calls:
            (asked,) = answer.calls
            text = Tool().call(asked.arguments, *([asked.id] if with_id else []))
            messages += answers(answer, text)

    async def many():
        await asyncio.gather(*[run() for _ in range(3)])

    asyncio.run(many())
    assert seen.tree() == "\n".join([ONE_TOOL.replace("helper", "kit")] * 3)


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_a_failure_is_an_exception_once(seen):
    with pytest.raises(LookupError):
        Agent(Model(Answer("", (Asked("add", {"n": None}),))), Tool()).invoke("q")
    assert {each.name: [event.name for event in each.events] for each in seen.spans} == {
        "invoke_agent helper": [], "chat toy-1": [], "execute_tool add": ["exception"]
    }  # fmt: skip
    assert values(span(seen, "invoke_agent"))["error.type"] == "LookupError"


def test_the_framework_s_own_limit_is_the_run_s_failure(seen):
    with pytest.raises(RecursionError):
        agent(calls()).invoke("q", steps=2)
    root = span(seen, "invoke_agent")
    assert values(root)["error.type"] == "RecursionError"
    assert [event.name for event in root.events] == ["exception"]


def test_control_flow_of_the_framework_is_no_failure(seen):
    def pause():
        raise Paused

    with pytest.raises(Paused):
        Agent(Model(calls()), Tool(work=pause)).invoke("q")
    root = span(seen, "invoke_agent")
    assert root.status.status_code is StatusCode.UNSET
    assert values(root)["nexus.run.closed_by"] == "interrupt"


@pytest.mark.parametrize("close", ["close", "collect", "throw"])
def test_a_stream_that_is_not_read_to_its_end_ends(seen, close):
    stream = agent().stream("q")
    next(stream)
    if close == "close":
        stream.close()
    elif close == "throw":
        with pytest.raises(KeyError):
            stream.throw(KeyError("mine"))
    del stream
    gc.collect()
    root = span(seen, "invoke_agent")
    assert values(root).get("nexus.run.closed_by") == (None if close == "throw" else "closed")
    assert values(root).get("error.type") == ("KeyError" if close == "throw" else None)


def test_an_async_stream_that_is_closed_ends(seen):
    async def run():
        stream = agent().astream("q")
        await stream.__anext__()
        await stream.aclose()

    asyncio.run(run())
    assert values(span(seen, "invoke_agent"))["nexus.run.closed_by"] == "closed"


def test_a_cancelled_run_is_no_failure(seen):
    class Slow(Agent):
        async def astream(self, question, **options):
            await asyncio.sleep(10)
            yield ""

    async def run():
        task = asyncio.create_task(agent_.ainvoke("q"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    agent_ = Slow(Model())
    asyncio.run(run())
    assert values(span(seen, "invoke_agent"))["nexus.run.closed_by"] == "cancelled"


def test_a_generator_that_nobody_reads_makes_nothing(seen):
    agent().stream("q")
    assert not seen.spans


def test_wrong_arguments_fail_at_the_call_as_without_us(seen):
    with pytest.raises(TypeError):
        agent().stream()


# -- further operations ------------------------------------------------------------------------------------------------


def test_a_search_and_an_embedding(seen):
    Store().search("q")
    Embedder().embed(["a"])
    assert [each.name for each in seen.spans] == ["retrieval store", "embeddings embed-1"]
    assert values(seen.spans[1])["gen_ai.embeddings.dimension.count"] == 2
    assert "gen_ai.retrieval.query.text" not in values(seen.spans[0])
    with pytest.raises(ValueError, match="nothing"):
        Store().search("")
    assert values(seen.spans[2])["error.type"] == "ValueError"
    check(seen)


def test_a_search_within_a_search_is_left_out_if_it_is_a_part_of_it(seen):
    target = replace(framework.TOLD_TOOL, request=lambda call: Retrieval("store", outermost=True), response=None)
    for key in ("outer", "inner"):
        listener.begin(key, target, told())
    for key in ("inner", "outer"):
        listener.end(key, None)
    assert [each.name for each in seen.spans] == ["retrieval store"]


def test_an_embedding_is_no_step_of_a_run(seen):
    embed = Tool(work=lambda: str(Embedder().embed(["a"])))
    Agent(Model(calls(), Answer("done")), embed).invoke("q")
    assert "embeddings embed-1" in seen.names
    assert values(span(seen, "invoke_agent"))["nexus.run.steps"] == 2


def test_what_was_found_is_content():
    with instrumented(FrameworkInstrumentor, **content_mode("SPAN_ONLY")) as seen:
        Store().search("q")
        agent().invoke("what was asked")
    found = values(seen.spans[0])
    assert found["gen_ai.retrieval.query.text"] == "q"
    assert found["gen_ai.retrieval.documents"] == '[{"id":"first","score":1.0},{"id":"second","score":1.0}]'
    assert "what was asked" in values(span(seen, "invoke_agent"))["gen_ai.input.messages"]
    assert "done" in values(span(seen, "invoke_agent"))["gen_ai.output.messages"]
    check(seen)


def test_inner_steps_are_recorded_when_asked_for():
    with instrumented(FrameworkInstrumentor, ToyInstrumentor, NEXUS_DETAIL="full") as seen:
        agent().invoke("q")
    assert seen.tree() == ONE_TOOL.replace("  execute_tool", "  node\n    execute_tool")


def test_a_run_that_is_not_sampled_is_made_all_the_same():
    with instrumented(FrameworkInstrumentor, ToyInstrumentor, sampler=ALWAYS_OFF) as seen:
        assert agent().invoke("q") == "done"
        assert trace.get_current_span() is trace.INVALID_SPAN
    assert not seen.spans


# -- callbacks ---------------------------------------------------------------------------------------------------------


def question(one):
    return told(one, question="q")


def test_what_is_told_is_one_tree_across_threads(seen):
    one, model = agent(), Model()
    listener.begin("run", framework.TOLD_AGENT, question(one))
    listener.begin("node", None, told(), parent="run")

    def elsewhere():
        listener.begin("chat", framework.TOLD_MODEL, told(model, messages=[]), parent="node")
        listener.end("chat", Answer("", (Asked("add", {"n": 1}, "c1"),)))
        listener.begin("tool", framework.TOLD_TOOL, told(name="add"), parent="node")
        listener.end("tool", "2")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    listener.end("node", None)
    before = trace.get_current_span()
    listener.end("run", "done")
    assert before.name == "invoke_agent helper"
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert seen.tree() == "invoke_agent helper\n  chat toy-1\n  execute_tool add"


def test_an_end_told_elsewhere_leaves_the_context_alone(seen):
    listener.begin("run", framework.TOLD_AGENT, question(agent()))
    mine = seen.tracer.start_span("mine")
    token = otel_context.attach(trace.set_span_in_context(mine))
    listener.end("run", "done")
    assert trace.get_current_span() is mine
    otel_context.detach(token)
    mine.end()
    otel_context.attach(otel_context.Context())


def test_a_stream_that_is_told(seen):
    listener.begin("chat", framework.TOLD_MODEL, told(Model(), messages=[], tools=()))
    listener.leave("chat")
    assert trace.get_current_span() is trace.INVALID_SPAN
    listener.event("chat", "a")
    listener.end("chat", Answer("done"))
    assert values(seen.spans[0])["gen_ai.response.time_to_first_chunk"] >= 0


def test_a_failure_that_is_told(seen):
    listener.begin("chat", framework.TOLD_MODEL, told(Model(), messages=[], tools=()))
    listener.fail("chat", ModelError("no"))
    assert values(seen.spans[0])["error.type"] == "ModelError"


def test_an_end_of_what_never_began_is_nothing(seen):
    listener.end("nobody", 1)
    listener.fail("nobody", ValueError())
    listener.event("nobody", 1)
    assert not seen.spans


def test_the_run_above_is_found_by_key_in_any_thread(seen):
    assert listener.above("run") is None
    listener.begin("run", framework.TOLD_AGENT, question(agent()))
    found = []
    thread = threading.Thread(target=lambda: found.append(listener.above("run")))
    thread.start()
    thread.join()
    listener.end("run", "done")
    assert [run.name for run in found] == ["helper"]
    assert listener.above("run") is None


def test_what_is_carried_is_called_where_it_was_given(seen):
    with seen.tracer.start_as_current_span("mine"):
        work = carried(lambda: trace.get_current_span().name)
    found = []
    thread = threading.Thread(target=lambda: found.extend([work(), trace.get_current_span()]))
    thread.start()
    thread.join()
    assert found == ["mine", trace.INVALID_SPAN]


def test_a_tool_that_is_only_known_from_what_was_said(seen):
    target = replace(
        framework.TOLD_TOOL,
        request=lambda call: ToolCall("nothing", known=False, derived=True),
        response=lambda text: ToolResult(text, is_error=True),
    )
    listener.begin("run", framework.TOLD_AGENT, question(agent()))
    listener.begin("tool", target, told(), parent="run")
    listener.end("tool", "no such tool")
    listener.end("run", "done")
    tool = values(span(seen, "execute_tool"))
    assert (tool["nexus.derived"], tool["nexus.tool.known"], tool["error.type"]) == (True, False, "unknown_tool")
    assert "gen_ai.execute_tool.duration" not in seen.points
    check(seen)


def test_a_library_s_word_for_the_end_of_a_run_holds(seen):
    target = replace(framework.TOLD_AGENT, response=lambda _: AgentResult(closed_by="limit", finish_reasons=("error",)))
    listener.begin("run", target, question(agent()))
    listener.begin("chat", framework.TOLD_MODEL, told(Model(), messages=[]), parent="run")
    listener.end("chat", Answer("done"))
    listener.end("run", "done")
    assert values(span(seen, "invoke_agent"))["gen_ai.response.finish_reasons"] == ("error",)


def test_what_is_left_open_ends_with_the_process(seen):
    from nexus_otel.engine import streams

    listener.begin("chat", framework.TOLD_MODEL, told(Model(), messages=[], tools=()), attach=False)
    streams.end_open()
    assert values(seen.spans[0])["nexus.stream.outcome"] == "abandoned"


# -- what calls back, further ------------------------------------------------------------------------------------------


def asking(model, **more):
    return told(model, **more, messages=[user("q")], tools=TOOLS)


def test_a_generator_that_makes_its_request_when_it_is_read_is_one_span(seen):
    model = Model(Answer("done"))

    def stream():
        assert not trace.get_current_span().get_span_context().is_valid
        yield model.ask([user("q")], TOOLS).text

    handed = stream()
    listener.begin("model", framework.TOLD_MODEL, asking(model))
    listener.leave("model", handed)
    assert list(handed) == ["done"]
    listener.end("model", Answer("done"))
    assert seen.tree() == "invoke_agent kit\n  chat toy-1"


def test_a_generator_that_nobody_reads_on_ends_its_span(seen):
    handed = (each for each in ())
    listener.begin("model", replace(framework.TOLD_MODEL, fold=None), asking(Model(Answer("done"))))
    listener.leave("model", handed)
    assert seen.spans == []
    del handed
    gc.collect()
    assert values(span(seen, "chat"))["nexus.stream.outcome"] == "abandoned"


def test_a_note_is_kept_until_its_end(seen):
    listener.begin("tool", None, told(), note="kept")
    assert listener.note("tool") == "kept"
    listener.end("tool", None)
    assert listener.note("tool") is None


def test_what_a_person_gave_is_on_what_begins_in_it(seen):
    listener.begin("agent", framework.TOLD_AGENT, told(agent(), {"user_id": "u1", "tenant": "zoo"}, question="q"))
    listener.begin("tool", framework.TOLD_TOOL, told(name="add"), parent="agent")
    listener.end("tool", "3")
    listener.end("agent", "done")
    assert {values(each)["user.id"] for each in seen.spans} == {"u1"}
    assert {values(each)["nexus.metadata.tenant"] for each in seen.spans} == {"zoo"}


def test_a_limit_is_told_to_what_calls_back():
    model = Model(Answer("done"))
    with instrumented(FrameworkInstrumentor, NEXUS_MAX_STEPS="1"):
        before = otel_context.get_current()
        listener.begin("agent", framework.TOLD_AGENT, told(agent(), question="q"))
        listener.begin("first", framework.TOLD_MODEL, asking(model), parent="agent")
        listener.end("first", Answer("one"))
        with pytest.raises(AgentGuardError):
            listener.begin("second", framework.TOLD_MODEL, asking(model), parent="agent")
        listener.end("agent", "done")
        assert otel_context.get_current() is before


def test_one_that_is_disabled_hears_nothing():
    with instrumented() as recording:
        FrameworkInstrumentor().instrument(tracer_provider=recording.tracer_provider, only_silence=True)
        listener.begin("tool", framework.TOLD_TOOL, told(name="add"))
        listener.end("tool", "3")
        FrameworkInstrumentor().uninstrument()
    assert recording.spans == []
