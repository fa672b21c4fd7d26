"""Runs inferred from hand-written loops: which call belongs to which run, and how runs and their tools end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import textwrap
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import StatusCode

from nexus_otel import _guard
from nexus_otel.engine import run_table as table
from nexus_otel.engine import runs as engine_runs
from nexus_otel.engine.driver import runs
from tests.engine.toy import (
    TOOLS,
    Answer,
    Asked,
    Cached,
    Model,
    ModelError,
    Tool,
    ToyInstrumentor,
    answers,
    calls,
    loop,
    loop_async,
    said,
    user,
)
from tests.kit.conventions import violations
from tests.kit.recording import AGENT, instrumented, parent_id, span_id, trace_id, values

ROOT = f"invoke_agent {AGENT}"
ONE_TOOL = f"{ROOT}\n  chat toy-1\n  execute_tool add\n  chat toy-1"


@pytest.fixture
def seen():
    with instrumented(ToyInstrumentor) as recording:
        yield recording


def traces(recording):
    """Return how many traces there are of each content."""
    found = {}
    for span in recording.spans:
        found.setdefault(trace_id(span), Counter())[span.name] += 1
    return Counter(tuple(sorted(names.items())) for names in found.values())


def of_each(**names):
    return tuple(sorted({f"{name.replace('_toy', ' toy')}": count for name, count in names.items()}.items()))


ONE_RUN = tuple(sorted({ROOT: 1, "chat toy-1": 2, "execute_tool add": 1}.items()))


# -- one run -----------------------------------------------------------------------------------------------------------


def test_a_loop_is_one_run(seen):
    loop(Model(calls(), Answer()))
    assert seen.tree() == ONE_TOOL
    assert [problem for span in seen.spans for problem in violations(span)] == []


def test_a_single_call_that_offers_tools_is_a_run(seen):
    loop(Model())
    assert seen.tree() == f"{ROOT}\n  chat toy-1"


def test_a_call_without_tools_is_no_run(seen):
    loop(Model(), tools=())
    assert seen.tree() == "chat toy-1"


def test_a_longer_loop_is_one_run(seen):
    loop(Model(calls(), calls("add", "wait"), calls("wait"), Answer()))
    assert seen.names == {ROOT: 1, "chat toy-1": 4, "execute_tool add": 2, "execute_tool wait": 2}
    assert len({trace_id(span) for span in seen.spans}) == 1


def test_the_root_has_the_totals(seen):
    loop(Model(calls(usage=(100, 10)), calls("add", "wait", usage=(200, 20)), Answer(usage=(300, 30))))
    attributes = values(seen.one(ROOT))
    assert attributes["nexus.usage.input_tokens"] == 600
    assert attributes["nexus.usage.output_tokens"] == 60
    assert attributes["nexus.run.steps"] == 3
    assert attributes["nexus.run.tool_calls"] == 3
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)


def test_usage_is_on_model_spans_only(seen):
    loop(Model(calls(), Answer()))
    assert [span.name for span in seen.spans if "gen_ai.usage.input_tokens" in values(span)] == ["chat toy-1"] * 2


def test_the_standard_usage_is_on_the_root_when_asked_for():
    with instrumented(ToyInstrumentor, NEXUS_AGENT_USAGE="true") as seen:
        loop(Model(calls(), Answer()))
    assert values(seen.one(ROOT))["gen_ai.usage.input_tokens"] == 20


def test_runs_are_not_inferred_when_switched_off():
    with instrumented(ToyInstrumentor, NEXUS_INFER_RUNS="false") as seen:
        loop(Model(calls(), Answer()))
    assert seen.names == {"chat toy-1": 2}


def test_the_root_is_never_current(seen):
    found = []

    class Looking(Model):
        def _answer(self, said):
            found.append(trace.get_current_span().name)
            return super()._answer(said)

    messages = [user()]
    answer = Looking(calls()).ask(messages)
    assert found == ["chat toy-1"]
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert answer.calls


def test_content_makes_no_difference():
    trees = []
    for mode in ("NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY"):
        with instrumented(ToyInstrumentor, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=mode) as seen:
            loop(Model(calls(), calls("wait"), Answer()))
        trees.append(seen.tree())
    assert len(set(trees)) == 1


def test_the_content_of_the_root_is_the_first_input_and_the_last_output():
    mode = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    with instrumented(ToyInstrumentor, **mode) as seen:
        loop(Model(calls(), Answer("the end")), question="the start", system="rules")
    root = values(seen.one(ROOT))
    assert "the start" in root["gen_ai.input.messages"]
    assert "the end" not in root["gen_ai.input.messages"]
    assert "the end" in root["gen_ai.output.messages"]
    assert "rules" in root["gen_ai.system_instructions"]


def test_the_ambient_span_stays_the_parent_and_baggage_is_kept(seen):
    token = otel_context.attach(baggage.set_baggage("kept", "yes"))
    with seen.tracer.start_as_current_span("application") as ambient:
        loop(Model(calls(), Answer()))
    otel_context.detach(token)
    assert parent_id(seen.one(ROOT)) == ambient.get_span_context().span_id
    kept = [baggage.get_baggage("kept", seen.contexts[span_id(s)]) for s in seen.spans if s.name != "application"]
    assert kept == ["yes"] * 4


def test_under_an_agent_span_no_run_is_inferred(seen):
    with seen.tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        loop(Model(calls(), Answer()))
    assert ROOT not in seen.names


@pytest.mark.parametrize("tools", [TOOLS, TOOLS[:1]])
def test_a_forced_tool_opens_no_run(seen, tools):
    Model(calls()).ask([user()], tools=tools, forced=True)
    assert seen.tree() == "chat toy-1"
    assert len(runs) == 0


def test_a_forced_tool_inside_a_run_stays_in_it(seen):
    model = Model(calls(), Answer())
    messages = [user()]
    messages += answers(model.ask(messages))
    model.ask(messages, forced=True)
    assert seen.tree() == ONE_TOOL


# -- tools that were only seen by their answers ------------------------------------------------------------------------


def test_a_derived_tool_lasts_from_the_response_to_the_next_request(seen):
    model = Model(calls(), Answer())
    messages = [user()]
    messages += answers(model.ask(messages))
    time.sleep(0.02)
    model.ask(messages)
    first, second = seen.all("chat")
    tool = seen.one("execute_tool")
    assert 0 <= tool.start_time - first.end_time < 100_000_000
    assert 0 <= second.start_time - tool.end_time < 100_000_000
    assert tool.end_time - tool.start_time > 19_000_000


def test_a_derived_tool_says_so(seen):
    loop(Model(calls(), Answer()))
    attributes = values(seen.one("execute_tool"))
    assert attributes["nexus.derived"] is True
    assert attributes["gen_ai.tool.call.id"] == "call_1"
    assert attributes["gen_ai.agent.name"] == AGENT


def test_derived_tools_write_no_duration(seen):
    loop(Model(calls(), Answer()))
    assert "gen_ai.execute_tool.duration" not in seen.points
    assert seen.points["gen_ai.client.inference.duration"][0].count == 2


def test_an_answer_marked_as_an_error_is_one(seen):
    loop(Model(calls(), Answer()), "ValueError: no such city", error=True)
    span = seen.one("execute_tool")
    assert span.status.status_code is StatusCode.ERROR
    assert values(span)["error.type"] == "ValueError"


def test_an_error_without_a_name_is_a_tool_error(seen):
    loop(Model(calls(), Answer()), "it broke", error=True)
    assert values(seen.one("execute_tool"))["error.type"] == "tool_error"


def test_a_tool_that_was_not_offered_is_an_error(seen):
    loop(Model(calls("fly"), Answer()), "I flew")
    attributes = values(seen.one("execute_tool"))
    assert attributes["error.type"] == "unknown_tool"
    assert attributes["nexus.tool.known"] is False


def test_a_tool_that_was_not_offered_may_say_its_own_name(seen):
    loop(Model(calls("fly"), Answer()), "KeyError: fly")
    assert values(seen.one("execute_tool"))["error.type"] == "KeyError"


def test_a_failure_in_plain_text_is_a_fact_and_no_status(seen):
    loop(Model(calls(), Answer()), "Error: 429 too many requests")
    span = seen.one("execute_tool")
    attributes = values(span)
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes
    assert attributes["nexus.tool.failed"] is True
    assert attributes["nexus.tool.failed.how"] == "text"
    assert attributes["nexus.tool.error.class"] == "rate_limit"


def test_a_tool_that_went_well_is_not_failed(seen):
    loop(Model(calls(), Answer()), "0 errors")
    assert values(seen.one("execute_tool"))["nexus.tool.failed"] is False


def test_equal_calls_have_equal_hashes_and_others_others(seen):
    same, other = Asked("add", {"n": 1, "m": 2}), Asked("add", {"n": 2, "m": 2})
    loop(Model(Answer("", (same, Asked("add", {"m": 2, "n": 1}), other)), Answer()), "2", "2", "3")
    first, again, another = (values(span) for span in seen.all("execute_tool"))
    for name in ("nexus.tool.call.arguments.hash", "nexus.tool.call.result.hash"):
        assert first[name] == again[name] != another[name]


def test_hashes_do_not_say_what_they_are_of():
    found = []
    for key in ("one", "one", "two"):
        with instrumented(ToyInstrumentor, NEXUS_HASH_KEY=key) as seen:
            loop(Model(calls(), Answer()))
        found.append(values(seen.one("execute_tool"))["nexus.tool.call.arguments.hash"])
    assert found[0] == found[1] != found[2]


def test_arguments_against_the_schema_are_a_fact(seen):
    asked = (Asked("add", {"n": "secret"}), Asked("add", {}), Asked("add", {"n": 1}), Asked("wait", {"x": 1}))
    loop(Model(Answer("", asked), Answer()))
    found = [values(span).get("nexus.tool.schema_errors") for span in seen.all("execute_tool")]
    assert found == [("type:n",), ("required:n",), None, None]
    assert "secret" not in seen.text()


@pytest.mark.parametrize(
    ("answer", "form"), [("", "empty"), ("still running", "pending"), ("job failed", "terminal"), ("blue", "other")]
)
def test_the_form_of_an_answer_is_a_fact(seen, answer, form):
    loop(Model(calls(), Answer()), answer)
    assert values(seen.one("execute_tool"))["nexus.tool.answer.form"] == form


def test_calls_in_parallel_are_siblings(seen):
    loop(Model(calls("add", "wait", "add"), Answer()))
    tools = seen.all("execute_tool")
    assert [parent_id(span) for span in tools] == [span_id(seen.one(ROOT))] * 3
    assert [values(span)["gen_ai.tool.call.id"] for span in tools] == ["call_1", "call_2", "call_3"]


def test_a_call_that_is_never_answered_gets_no_span():
    with instrumented(ToyInstrumentor) as seen:
        Model(calls("add", "wait")).ask([user()])
    assert seen.names == {ROOT: 1, "chat toy-1": 1}
    assert values(seen.one(ROOT))["nexus.run.tool_calls"] == 0


def test_calls_answered_one_by_one_are_one_run(seen):
    model = Model(calls("add", "wait"), Answer("", ()), Answer())
    messages = [user()]
    both = answers(model.ask(messages))
    model.ask([*messages, *both[:2]])
    model.ask([*messages, *both])
    assert traces(seen).total() == 1
    assert seen.names["execute_tool wait"] == 1


# -- tools that run where we see them ----------------------------------------------------------------------------------


def test_a_tool_that_ran_replaces_the_derived_span(seen):
    model = Model(calls(), Answer())
    messages = [user()]
    answer = model.ask(messages)
    Tool().call(answer.calls[0].arguments)
    model.ask([*messages, *answers(answer)])
    attributes = values(seen.one("execute_tool"))
    assert seen.tree() == ONE_TOOL
    assert "nexus.derived" not in attributes
    assert attributes["gen_ai.tool.call.id"] == "call_1"
    assert attributes["nexus.tool.known"] is True


def test_a_tool_that_ran_is_measured(seen):
    model = Model(calls(), Answer())
    answer = model.ask([user()])
    Tool().call(answer.calls[0].arguments)
    model.ask([user(), *answers(answer)])
    (point,) = seen.points["gen_ai.execute_tool.duration"]
    assert point.count == 1


def test_only_the_calls_that_did_not_run_are_derived(seen):
    model = Model(calls("add", "wait"), Answer())
    answer = model.ask([user()])
    Tool().call(answer.calls[0].arguments)
    model.ask([user(), *answers(answer)])
    derived = {span.name: "nexus.derived" in values(span) for span in seen.all("execute_tool")}
    assert derived == {"execute_tool add": False, "execute_tool wait": True}


def test_a_tool_that_ran_is_matched_by_the_id_of_its_call(seen):
    model = Model(calls("add", "add"), Answer())
    answer = model.ask([user()])
    for call in reversed(answer.calls):
        Tool().call(dict(call.arguments), call.id)
    model.ask([user(), *answers(answer)])
    assert [values(span)["gen_ai.tool.call.id"] for span in seen.all("execute_tool")] == ["call_2", "call_1"]


def test_a_tool_that_ran_is_matched_by_what_its_arguments_say(seen):
    model = Model(Answer("", (Asked("add", '{"n": 1}'),)), Answer())
    answer = model.ask([user()])
    Tool().call({"n": 1})
    model.ask([user(), *answers(answer)])
    assert seen.tree() == ONE_TOOL
    assert values(seen.one("execute_tool"))["gen_ai.tool.call.id"] == "call_1"


def test_equal_calls_are_matched_first_in_first_out(seen):
    model = Model(calls("add", "add"), Answer())
    answer = model.ask([user()])
    for _ in answer.calls:
        Tool().call({"n": 1})
    model.ask([user(), *answers(answer)])
    assert [values(span)["gen_ai.tool.call.id"] for span in seen.all("execute_tool")] == ["call_1", "call_2"]


def test_a_tool_that_nobody_asked_for_is_in_no_run(seen):
    model = Model(calls(), Answer())
    answer = model.ask([user()])
    Tool().call({"n": 40})
    model.ask([user(), *answers(answer)])
    own, derived = seen.all("execute_tool")
    assert parent_id(own) is None
    assert trace_id(derived) == trace_id(seen.one(ROOT))


def test_a_tool_that_raises_is_recorded_and_raises(seen):
    model = Model(Answer("", (Asked("add", {"n": None}),)), Answer())
    answer = model.ask([user()])
    with pytest.raises(LookupError, match="no number"):
        Tool().call(answer.calls[0].arguments)
    model.ask([user(), *answers(answer, "failed", error=True)])
    span = seen.one("execute_tool")
    assert values(span)["error.type"] == "LookupError"
    assert [event.name for event in span.events] == ["exception"]


# -- which run ---------------------------------------------------------------------------------------------------------


def test_conversations_that_alternate_in_one_thread_stay_apart(seen):
    left, right = Model(calls(), calls("wait"), Answer()), Model(calls(), calls("wait"), Answer())
    histories = {left: [user("left")], right: [user("right")]}
    for model in [left, right] * 3:
        histories[model] += answers(model.ask(histories[model]))
    assert traces(seen) == {
        tuple(sorted({ROOT: 1, "chat toy-1": 3, "execute_tool add": 1, "execute_tool wait": 1}.items())): 2
    }
    assert [values(span)["nexus.run.steps"] for span in seen.all(ROOT)] == [3, 3]


def test_conversations_of_one_client_stay_apart_by_their_prefix(seen):
    asked = Answer("", (Asked("add", {"n": 1}, "same"),))
    model = Model(asked, asked, Answer())
    left, right = [user("left")], [user("right")]
    left += answers(model.ask(left))
    right += answers(model.ask(right))
    model.ask(list(left))
    model.ask(list(right))
    one, two = (span_id(root) for root in seen.all(ROOT))
    assert [parent_id(call) for call in seen.all("chat")] == [one, two, one, two]


def test_equal_conversations_of_one_client_stay_apart_by_their_list(seen):
    asked = Answer("", (Asked("add", {"n": 1}, "same"),))
    model = Model(*[asked] * 3, Answer())
    histories = [[user()] for _ in range(3)]
    for history in histories:
        history.extend(answers(model.ask(history)))
    for history in reversed(histories):
        model.ask(history)
    one, two, three = (span_id(root) for root in seen.all(ROOT))
    assert [parent_id(call) for call in seen.all("chat")] == [one, two, three, three, two, one]


def test_equal_conversations_of_two_clients_stay_apart_by_their_client(seen):
    asked = Answer("", (Asked("add", {"n": 1}, "same"),))
    left, right = Model(asked, Answer()), Model(asked, Answer())
    for_left, for_right = answers(left.ask([user()])), answers(right.ask([user()]))
    contextvars.Context().run(right.ask, [user(), *for_right])
    contextvars.Context().run(left.ask, [user(), *for_left])
    one, two = (span_id(root) for root in seen.all(ROOT))
    assert [parent_id(call) for call in seen.all("chat")] == [one, two, two, one]


async def test_equal_conversations_of_two_tasks_stay_apart_by_their_task(seen):
    asked = Answer("", (Asked("add", {"n": 1}, "same"),))
    model = Cached(asked, Answer())

    async def converse(wait_s):
        answered = answers(await model.ask_async([user()]))
        await asyncio.sleep(wait_s)
        await model.ask_async([user(), *answered])

    await asyncio.gather(converse(0.04), converse(0.02))
    one, two = (span_id(root) for root in seen.all(ROOT))
    assert [parent_id(call) for call in seen.all("chat")] == [one, two, two, one]


def test_equal_conversations_on_copied_lists_are_as_many_runs(seen):
    asked = Answer("", (Asked("add", {"n": 1}, "same"),))
    model = Model(*[asked] * 3, Answer())
    given = [answers(model.ask([user()])) for _ in range(3)]
    for answered in given:
        model.ask([user(), *answered])
    assert traces(seen) == {ONE_RUN: 3}


@pytest.mark.parametrize("shared", [True, False], ids=["one client", "a client each"])
def test_fifty_equal_prompts_in_threads_are_fifty_traces(seen, shared):
    asked = Answer("", (Asked("add", {"n": 1}, "same"),))
    together = threading.Barrier(50)
    one = Cached(asked, Answer())

    def converse(_number):
        model = one if shared else Cached(asked, Answer())
        messages = [user()]
        answer = model.ask(messages)
        together.wait()
        model.ask([*messages, *answers(answer)])

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(converse, range(50)))
    assert traces(seen) == {ONE_RUN: 50}


@pytest.mark.parametrize("shared", [True, False], ids=["one client", "a client each"])
async def test_fifty_equal_prompts_in_tasks_are_fifty_traces(seen, shared):
    asked = Answer("", (Asked("add", {"n": 1}, "same"),))
    one = Cached(asked, Answer())

    async def converse():
        model = one if shared else Cached(asked, Answer())
        messages = [user()]
        answer = await model.ask_async(messages)
        await asyncio.sleep(0.01)
        await model.ask_async([*messages, *answers(answer)])

    await asyncio.gather(*(converse() for _ in range(50)))
    assert traces(seen) == {ONE_RUN: 50}


async def test_fifty_loops_whose_lists_grow_are_fifty_traces(seen):
    await asyncio.gather(*(loop_async(Model(calls(), Answer())) for _ in range(50)))
    assert traces(seen) == {ONE_RUN: 50}


def test_an_answer_from_another_thread_finds_its_run(seen):
    model = Model(calls(), Answer())
    messages = [user()]
    messages += answers(model.ask(messages))
    thread = threading.Thread(target=model.ask, args=(messages,))
    thread.start()
    thread.join()
    assert seen.tree() == ONE_TOOL


def test_a_thread_that_the_provider_holds_is_found_by_the_answer_s_id(seen):
    model = Model(calls(), calls("wait"), Answer())
    first = model.ask([user()])
    second = model.ask(answers(first)[1:], continues=first.id)
    model.ask(answers(second)[1:], continues=second.id)
    assert seen.names == {ROOT: 1, "chat toy-1": 3, "execute_tool add": 1, "execute_tool wait": 1}


def test_a_run_goes_on_until_the_last_of_its_calls_is_back(seen):
    model = Model(Answer("thinking", reason="pause"), Answer())
    first = model.ask([user()])

    class Branching(Model):
        def _answer(self, said):
            contextvars.Context().run(model.ask, [user("one way")], continues=first.id)
            return super()._answer(said)

    Branching().ask([user("another way")], continues=first.id)
    root = values(seen.one(ROOT))
    assert (root["nexus.run.steps"], root["nexus.usage.input_tokens"]) == (3, 30)


def test_a_continued_thread_without_an_answer_is_found_too(seen):
    model = Model(calls(reason="pause"), Answer())
    first = model.ask([user()])
    model.ask([user("go on")], continues=first.id)
    assert traces(seen).total() == 1


def test_without_ids_a_history_with_our_answer_is_the_same_run(seen):
    loop(Model(calls(), Answer(), ids=False))
    assert seen.names == {ROOT: 1, "chat toy-1": 2}


def test_without_ids_two_matching_runs_are_no_match(seen):
    model = Model(calls(), calls(), Answer(), ids=False)
    first, second = model.ask([user()]), model.ask([user()])
    model.ask([user(), *answers(first)])
    assert second.calls
    runs.close_all()
    assert seen.names[ROOT] == 3


def test_two_libraries_share_a_loop(seen):
    left, right = Model(calls()), Model(Answer())
    messages = [user()]
    messages += answers(left.ask(messages))
    right.ask(messages)
    assert seen.tree() == ONE_TOOL


def test_a_pause_goes_on_in_the_same_run(seen):
    model = Model(Answer("thinking", reason="pause"), Answer())
    messages = [user()]
    messages.append(said(model.ask(messages)))
    model.ask(messages)
    assert seen.tree() == f"{ROOT}\n  chat toy-1\n  chat toy-1"


# -- nested model calls ------------------------------------------------------------------------------------------------


def test_a_model_call_of_a_tool_is_a_child_of_the_run(seen):
    model, helper = Model(calls(), Answer()), Model(Answer(usage=(1, 1)))
    messages = [user()]
    answer = model.ask(messages)
    helper.ask([user("summarise")], tools=())
    model.ask([*messages, *answers(answer)])
    assert [parent_id(span) for span in seen.all("chat")] == [span_id(seen.one(ROOT))] * 3
    assert values(seen.one(ROOT))["nexus.usage.input_tokens"] == 21


def test_a_forced_call_of_a_tool_is_a_child_of_the_run(seen):
    model, helper = Model(calls(), Answer()), Model(calls("extract"))
    messages = [user()]
    answer = model.ask(messages)
    helper.ask([user("extract")], tools=TOOLS[:1], system="helper", forced=True)
    model.ask([*messages, *answers(answer)])
    assert [parent_id(span) for span in seen.all("chat")] == [span_id(seen.one(ROOT))] * 3


def test_an_agent_of_a_tool_is_a_child_run(seen):
    model, inner = Model(calls(), Answer()), Model(Answer("", (Asked("wait", {}, "inner"),)), Answer())
    messages = [user()]
    answer = model.ask(messages)
    loop(inner, question="help me", system="another agent")
    model.ask([*messages, *answers(answer)])
    outer, nested = seen.all(ROOT)
    assert parent_id(nested) == span_id(outer)
    assert {trace_id(span) for span in seen.spans} == {trace_id(outer)}
    totals = [(values(root)["nexus.run.steps"], values(root)["nexus.run.tool_calls"]) for root in (outer, nested)]
    assert totals == [(4, 2), (2, 1)]


def test_an_agent_of_a_tool_that_repeats_the_ids_of_the_outer_one_is_a_child_run(seen):
    model, inner = Model(calls(), Answer()), Model(calls("wait"), Answer())
    messages = [user()]
    answer = model.ask(messages)
    loop(inner, system="another agent")
    model.ask([*messages, *answers(answer)])
    assert [values(root)["nexus.run.steps"] for root in seen.all(ROOT)] == [4, 2]


@pytest.mark.parametrize("ids", ["own", "repeated"])
async def test_agents_that_a_tool_starts_at_once_are_children(seen, ids):
    outer = Model(calls(), Answer())
    answer = await outer.ask_async([user("all of it")])

    async def part(number):
        given = f"inner {number}" if ids == "own" else None
        inner = Model(Answer("", (Asked("wait", {"n": number}, given),)), Answer())
        messages = [user("your part")]
        messages += answers(await inner.ask_async(messages, TOOLS, "helper"))
        await inner.ask_async(messages, TOOLS, "helper")

    await asyncio.gather(*(part(number) for number in range(5)))
    await outer.ask_async([user("all of it"), *answers(answer)])
    root, *parts = seen.all(ROOT)
    assert [parent_id(span) for span in parts] == [span_id(root)] * 5
    assert [values(span)["nexus.run.steps"] for span in parts] == [2] * 5
    assert values(root)["nexus.run.steps"] == 12
    assert len({trace_id(span) for span in seen.spans}) == 1


def test_an_agent_of_a_tool_that_is_left_open_closes_with_the_run(seen):
    model, inner = Model(calls(), Answer()), Model(calls("wait"))
    messages = [user()]
    answer = model.ask(messages)
    inner.ask([user("help me")], system="another agent")
    model.ask([*messages, *answers(answer)])
    assert [values(root).get("nexus.run.closed_by") for root in seen.all(ROOT)] == [None, "parent"]


def test_after_the_last_answer_a_call_is_no_child(seen):
    loop(Model(calls(), Answer()))
    Model().ask([user("something else")], tools=())
    assert traces(seen).total() == 2


async def test_a_model_call_of_another_task_is_no_child(seen):
    model, other = Model(calls(), Answer()), Model()

    async def converse():
        answer = await model.ask_async([user()])
        await asyncio.sleep(0.02)
        await model.ask_async([user(), *answers(answer)])

    async def something_else():
        await asyncio.sleep(0.01)
        await other.ask_async([user("other")], tools=())

    await asyncio.gather(converse(), something_else())
    assert traces(seen) == {ONE_RUN: 1, (("chat toy-1", 1),): 1}


# -- failures ----------------------------------------------------------------------------------------------------------


def failing(model, messages):
    with pytest.raises(ModelError):
        model.ask(messages)


def test_a_call_that_failed_can_be_made_again_in_its_run(seen):
    model = Model(calls(), ModelError("busy"), Answer())
    messages = [user()]
    messages += answers(model.ask(messages))
    failing(model, messages)
    model.ask(messages)
    assert seen.names == {ROOT: 1, "chat toy-1": 3, "execute_tool add": 1}
    assert seen.one(ROOT).status.status_code is StatusCode.UNSET


def test_a_first_call_that_failed_can_be_made_again_in_its_run(seen):
    model = Model(ModelError("busy"), Answer())
    messages = [user()]
    failing(model, messages)
    model.ask(list(messages))
    assert seen.names == {ROOT: 1, "chat toy-1": 2}
    assert seen.one(ROOT).status.status_code is StatusCode.UNSET


def test_a_run_whose_last_call_failed_ends_as_an_error():
    with instrumented(ToyInstrumentor) as seen:
        failing(Model(ModelError("busy")), [user()])
    root = seen.one(ROOT)
    assert root.status.status_code is StatusCode.ERROR
    assert values(root)["error.type"] == "ModelError"
    assert root.events == ()


def test_a_run_that_waits_for_another_try_does_not_hold_what_the_failure_does(seen):
    held = []

    def call():
        error, local = ModelError("busy"), Model()
        held.extend((weakref.ref(error), weakref.ref(local)))
        Model(error).ask([user()])

    with suppress(ModelError):
        call()
    gc.collect()  # an exception and its frame are a cycle
    assert len(runs) == 1
    assert [reference() for reference in held] == [None, None]


def test_another_conversation_after_a_failure_is_another_run():
    with instrumented(ToyInstrumentor) as seen:
        failing(Model(ModelError("busy")), [user("one")])
        Model().ask([user("two")])
    assert traces(seen).total() == 2


def test_cancelled_calls_leave_the_run_open(seen):
    async def cancel():
        model = Model(calls(), Answer())
        messages = [user()]
        messages += answers(await model.ask_async(messages))
        task = asyncio.ensure_future(model.ask_async(messages))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await model.ask_async(messages)

    asyncio.run(cancel())
    assert seen.names == {ROOT: 1, "chat toy-1": 3, "execute_tool add": 1}
    assert seen.one(ROOT).status.status_code is StatusCode.UNSET


# -- the end of a run --------------------------------------------------------------------------------------------------


def test_a_finished_run_is_not_reopened_but_linked(seen):
    model = Model(calls(), Answer(), calls(), Answer())
    history = loop(model)
    messages = [*history, user("and then?")]
    messages += answers(model.ask(messages))
    model.ask(messages)
    first, second = seen.all(ROOT)
    assert traces(seen) == {ONE_RUN: 2}
    assert [link.context.span_id for link in second.links] == [span_id(first)]
    assert first.links == ()


def test_equal_questions_are_linked_by_what_was_answered(seen):
    model = Model(Answer("one"), Answer("two"), Answer())
    first, second = model.ask([user()]), model.ask([user()])
    for answered in (first, second):
        model.ask([user(), said(answered), user("and then?")])
    one, two, after_one, after_two = seen.all(ROOT)
    assert [span.links[0].context.span_id for span in (after_one, after_two)] == [span_id(one), span_id(two)]


def test_a_new_conversation_with_a_known_question_has_no_link(seen):
    for _ in range(2):
        loop(Model(calls(), Answer()))
    assert [span.links for span in seen.all(ROOT)] == [(), ()]


def test_an_answer_to_a_run_that_has_closed_is_linked(seen):
    model = Model(calls(), Answer())
    answer = model.ask([user()])
    runs.close_all()
    model.ask([user(), *answers(answer)])
    first, second = seen.all(ROOT)
    assert [link.context.span_id for link in second.links] == [span_id(first)]


def test_a_run_ends_at_its_last_activity(seen):
    Model(calls()).ask([user()])
    time.sleep(0.3)
    runs.close_all()
    root, call = seen.one(ROOT), seen.one("chat")
    assert 0 <= root.end_time - call.end_time < 100_000_000
    assert values(root)["nexus.run.closed_by"] == "exit"


def test_a_run_that_answers_has_no_other_reason_to_close(seen):
    loop(Model(calls(), Answer()))
    assert "nexus.run.closed_by" not in values(seen.one(ROOT))


def test_a_run_closes_with_its_ambient_parent(seen):
    with seen.tracer.start_as_current_span("application"):
        Model(calls()).ask([user()])
        assert seen.all(ROOT) == []
    assert values(seen.one(ROOT))["nexus.run.closed_by"] == "parent"


def test_a_run_does_not_close_with_another_span(seen):
    Model(calls()).ask([user()])
    with seen.tracer.start_as_current_span("application"):
        pass
    assert seen.all(ROOT) == []


def test_a_run_does_not_cross_its_trace(seen):
    model = Model(calls(), Answer())
    messages = [user()]
    with seen.tracer.start_as_current_span("request one") as one:
        messages += answers(model.ask(messages))
    with seen.tracer.start_as_current_span("request two") as two:
        model.ask(messages)
    first, second = seen.all(ROOT)
    assert (parent_id(first), parent_id(second)) == (one.get_span_context().span_id, two.get_span_context().span_id)
    assert [link.context.span_id for link in second.links] == [span_id(first)]


def test_a_run_that_is_still_open_in_another_trace_is_linked(seen):
    model = Model(calls(), Answer())
    messages = [user()]
    with seen.tracer.start_as_current_span("request one"):
        messages += answers(model.ask(messages))
        with seen.tracer.start_as_current_span("request two", context=otel_context.Context()):
            model.ask(messages)
    first, second = seen.all(ROOT)
    assert trace_id(first) != trace_id(second)
    assert [link.context.span_id for link in second.links] == [span_id(first)]


def test_an_idle_run_is_closed(seen):
    Model(calls()).ask([user()])
    runs.close_idle(60)
    assert seen.all(ROOT) == []
    runs.close_idle(0)
    assert values(seen.one(ROOT))["nexus.run.closed_by"] == "idle"


def test_a_run_with_a_call_under_way_is_not_idle(seen):
    class Slow(Model):
        def _answer(self, said):
            runs.close_idle(0)
            return super()._answer(said)

    Slow(calls()).ask([user()])
    assert seen.all(ROOT) == []


def test_idle_runs_are_swept_in_the_background(monkeypatch):
    monkeypatch.setattr(engine_runs, "_SWEEP_S", 0.01)
    with instrumented(ToyInstrumentor, NEXUS_RUN_IDLE_S="1") as seen:
        fresh = engine_runs.Runs()
        monkeypatch.setattr("nexus_otel.engine.driver.runs", fresh)
        Model(calls()).ask([user()])
        next(iter(fresh._table._open.values())).last_ns -= 2_000_000_000
        deadline = time.monotonic() + 5
        while not seen.all(ROOT) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert values(seen.one(ROOT))["nexus.run.closed_by"] == "idle"


def test_too_many_open_runs_close_the_oldest(monkeypatch):
    monkeypatch.setattr(table, "MAX_OPEN", 3)
    with instrumented(ToyInstrumentor) as seen:
        for number in range(5):
            contextvars.Context().run(Model(calls()).ask, [user(str(number))])
        assert [values(span)["nexus.run.closed_by"] for span in seen.all(ROOT)] == ["limit", "limit"]
        assert len(runs) == 3
    assert _guard.failures.pop("open runs") == 2


def test_only_the_latest_runs_hold_content(monkeypatch):
    monkeypatch.setattr(table, "MAX_WITH_CONTENT", 2)
    mode = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    with instrumented(ToyInstrumentor, **mode) as seen:
        for number in range(4):
            Model(calls()).ask([user(str(number))])
    held = ["gen_ai.input.messages" in values(root) for root in seen.all(ROOT)]
    assert held == [False, False, True, True]


def test_ten_thousand_calls_that_are_never_answered_leave_memory_flat():
    with instrumented(ToyInstrumentor, meters=False) as seen:
        counts = []
        for at in range(10_000):
            contextvars.Context().run(Model(calls()).ask, [user(f"question {at}")])
            seen.clear()
            if at in {4_999, 9_999}:
                runs.close_all()
                gc.collect()
                counts.append(len(gc.get_objects()))
        assert (
            len(runs) == len(runs._table._by_call) == len(runs._table._by_prefix) == len(runs._table._by_response) == 0
        )
    assert counts[1] < counts[0] + 5_000
    _guard.failures.pop("open runs", None)


def test_unanswered_calls_of_one_task_are_bounded(seen):
    for number in range(table.MAX_PER_TASK + 50):
        Model(calls()).ask([user(str(number))])
    assert len(runs) == table.MAX_PER_TASK
    assert [values(root)["nexus.run.closed_by"] for root in seen.all(ROOT)] == ["limit"] * 50
    _guard.failures.pop("open runs", None)


def test_finished_runs_leave_nothing_but_their_links(seen):
    for number in range(300):
        loop(Model(calls(), Answer()), question=str(number))
    assert len(runs) == 0
    for name in ("_by_call", "_by_response", "_by_prefix", "_by_ambient"):
        assert getattr(runs._table, name) == {}, name


def test_unanswered_calls_of_one_run_are_bounded(seen, monkeypatch):
    monkeypatch.setattr(table, "MAX_AWAITED", 10)
    model = Model(Answer("", tuple(Asked("add", {"n": n}) for n in range(50))))
    messages = [user()]
    for _ in range(3):
        answer = model.ask(messages)
        messages += answers(answer)[:2]
    assert len(runs._table._by_call) <= 11


# -- sampling ----------------------------------------------------------------------------------------------------------


class EverySecondRoot(Sampler):
    """Keeps every second root that it is asked about, and whatever is below it by `ParentBased`."""

    def __init__(self):
        self._keep = itertools.cycle([True, False])

    def should_sample(self, *_args, **_kwargs):
        return SamplingResult(Decision.RECORD_AND_SAMPLE if next(self._keep) else Decision.DROP)

    def get_description(self):
        return "every second root"


def test_a_sampler_keeps_or_drops_a_whole_run():
    with instrumented(ToyInstrumentor, sampler=ParentBased(EverySecondRoot())) as seen:
        for number in range(6):
            loop(Model(calls(), Answer()), question=str(number))
    assert traces(seen) == {ONE_RUN: 3}


def test_a_dropped_run_is_tracked_and_forgotten_like_another():
    with instrumented(ToyInstrumentor, sampler=ALWAYS_OFF) as seen:
        loop(Model(calls(), Answer()))
        assert len(runs) == 0
        Model(calls()).ask([user()])
        assert len(runs) == 1
    assert seen.spans == []


# -- other processes ---------------------------------------------------------------------------------------------------

FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, ".")
from nexus_otel.engine.driver import runs
from tests.engine.toy import *
from tests.kit.recording import instrumented

def in_child(work):
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:
            print("child failed:", repr(error), flush=True)
        os._exit(0)
    os.waitpid(process, 0)

with instrumented(ToyInstrumentor) as seen:
    seen.may_stay_open = True
    {body}
"""


def forked(body):
    """Run a script that forks, in a process of its own; returns what it prints."""
    import subprocess
    import sys

    script = FORK.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_a_forked_child_does_not_end_the_runs_of_its_parent():
    lines = forked(
        """
        model = Model(calls(), Answer())
        messages = [user()]
        messages += answers(model.ask(messages))
        def child():
            seen.clear()
            runs.close_all()
            print("child", sorted(seen.names))
        in_child(child)
        model.ask(messages)
        print("parent", len(seen.spans))
        """
    )
    assert lines == ["child []", "parent 4"]


def test_a_forked_child_makes_runs_of_its_own():
    lines = forked(
        """
        Model(calls()).ask([user()])
        def child():
            seen.clear()
            loop(Model(calls(), Answer()))
            print("child", seen.tree().split(chr(10)))
        in_child(child)
        print("parent", len(runs))
        """
    )
    assert lines == [f"child {ONE_TOOL.splitlines()}", "parent 1"]


def test_a_call_that_a_fork_cuts_in_two_ends_in_the_parent_only():
    lines = forked(
        """
        class Forking(Model):
            def _answer(self, said):
                self.child = os.fork()
                return super()._answer(said)

        model = Forking(calls())
        model.ask([user()])
        if model.child == 0:
            print("child", sorted(seen.names), len(runs), flush=True)
            os._exit(0)
        os.waitpid(model.child, 0)
        print("parent", sorted(seen.names), len(runs))
        """
    )
    assert lines == ["child [] 0", "parent ['chat toy-1'] 1"]


def test_a_fork_while_another_thread_holds_the_table_does_not_hang():
    lines = forked(
        """
        held, go = threading.Event(), threading.Event()
        def hold():
            with runs._lock:
                held.set()
                go.wait(20)
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        def child():
            done = threading.Event()
            threading.Thread(target=lambda: (Model().ask([user()]), done.set()), daemon=True).start()
            print("child", done.wait(5))
        in_child(child)
        go.set()
        """
    )
    assert lines == ["child True"]


# -- calls in contexts of their own ------------------------------------------------------------------------------------


def apart(work, *args):
    """Call something in a context that the caller does not see, as frameworks do."""
    return contextvars.copy_context().run(work, *args)


@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize("within", [True, False])
def test_a_tool_is_found_for_a_model_call_in_a_context_of_its_own(seen, with_id, within):
    model = Model(calls(), Answer("done"))
    span = seen.tracer.start_span("mine")
    token = otel_context.attach(trace.set_span_in_context(span)) if within else None
    answer = apart(model.ask, [user("q")])
    (asked,) = answer.calls
    text = Tool().call(asked.arguments, *([asked.id] if with_id else []))
    apart(model.ask, [user("q"), *answers(answer, text)])
    span.end()
    if token is not None:
        otel_context.detach(token)
    assert seen.names["execute_tool add"] == 1
    assert "nexus.derived" not in values(seen.one("execute_tool"))
    assert parent_id(seen.one("execute_tool")) == span_id(seen.one(ROOT))
