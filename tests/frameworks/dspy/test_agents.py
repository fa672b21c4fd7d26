"""Runs of DSPy: one right tree each, whatever tools, models and threads do."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import threading
from collections import Counter
from contextlib import contextmanager

import dspy
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import nexus_otel
from nexus_otel.engine.limits import StepLimitExceeded
from nexus_otel.instrumentors.dspy import DSPyInstrumentor
from nexus_otel.instrumentors.openai import OpenAIInstrumentor
from tests.fakes.provider import API_ERROR, OVERFLOW, PROMPT_TOO_LONG, Reply, Usage
from tests.frameworks.dspy.programs import (
    ANSWER,
    FIND,
    FINISH,
    HAS_REACT_V2,
    PLAIN,
    QUESTION,
    SUBMIT,
    VERSION,
    Pipeline,
    acts,
    agent,
    agent_v2,
    asks,
    client,
    fail,
    find_async,
    model,
    said,
)
from tests.kit.cases import CANARY, loaded
from tests.kit.conventions import violations
from tests.kit.fixtures import Kept
from tests.kit.recording import content_mode, instrumented, trace_id, values

pytestmark = pytest.mark.filterwarnings("ignore")
needs_v2 = pytest.mark.skipif(not HAS_REACT_V2, reason="ReActV2 came with 3.3")
TREE = "invoke_agent dspy.ReAct\n  chat gpt-test\n  execute_tool find\n  chat gpt-test\n  chat gpt-test"


@pytest.fixture
def seen():
    with instrumented(DSPyInstrumentor) as recording:
        yield recording
    assert CANARY not in recording.text()
    ours = [span for span in recording.spans if span.name != "mine"]
    assert [problem for span in ours for problem in violations(span)] == []


@pytest.fixture
def play(provider):
    """Give a way to make a model that is answered by steps."""

    @contextmanager
    def playing(*steps, **options):
        key = loaded(steps, provider)
        with client(provider.url, key, **options) as lm:
            lm.key = key
            yield lm

    return playing


def native():
    return dspy.context(adapter=dspy.ChatAdapter(use_native_function_calling=True))


def sums(seen):
    chats = [values(span) for span in seen.all("chat")]
    return tuple(sum(chat.get(f"gen_ai.usage.{kind}_tokens", 0) for chat in chats) for kind in ("input", "output"))


# -- one tree ----------------------------------------------------------------------------------------------------------


def test_a_run_is_one_tree_and_leaves_the_context(seen, play, provider):
    before = otel_context.get_current()
    with play(FIND, FINISH, ANSWER) as lm:
        agent()(question=QUESTION)
    assert otel_context.get_current() is before
    assert seen.tree() == TREE
    assert len({trace_id(span) for span in seen.spans}) == 1
    assert sums(seen) == provider.usage_sent(lm.key)


def test_async_is_the_same(seen, play):
    async def run():
        before = otel_context.get_current()
        await agent(dspy.Tool(find_async, name="find")).acall(question=QUESTION)
        assert otel_context.get_current() is before

    with play(FIND, FINISH, ANSWER):
        asyncio.run(run())
    assert seen.tree() == TREE


def test_many_at_once_do_not_mix(seen, provider):
    async def one(number):
        with client(provider.url, loaded([FIND, FINISH, ANSWER], provider)):
            await agent().acall(question=f"{number}")

    async def all_of_them():
        await asyncio.gather(*(one(number) for number in range(5)))

    asyncio.run(all_of_them())
    assert seen.tree() == "\n".join([TREE] * 5)
    assert set(Counter(trace_id(span) for span in seen.spans).values()) == {5}


def test_in_a_thread_of_asyncify(seen, play):
    with play(FIND, FINISH, ANSWER):
        asyncio.run(dspy.asyncify(agent())(question=QUESTION))
    assert seen.tree() == TREE


def test_a_streamed_run_is_one_tree(seen, play, provider):
    async def read():
        program = dspy.streamify(agent())
        return [item async for item in program(question=QUESTION)]

    with play(FIND, FINISH, ANSWER) as lm, dspy.context(track_usage=True):
        got = asyncio.run(read())
    assert isinstance(got[-1], dspy.Prediction)
    assert seen.tree() == TREE
    assert {values(chat)["gen_ai.request.stream"] for chat in seen.all("chat")} == {True}
    if VERSION >= (3,):  # before, the provider is not asked for usage, and LiteLLM estimates it
        assert sums(seen) == provider.usage_sent(lm.key)


def test_a_program_of_the_user_s_is_a_workflow_with_agents_in_it(seen, play):
    with play(FIND, FINISH, ANSWER, PLAIN):
        Pipeline(agent(), dspy.Predict("question -> answer"))(question=QUESTION)
    inner = "\n".join(f"  {line}" for line in TREE.splitlines())
    assert seen.tree() == f"invoke_workflow Pipeline\n{inner}\n  chat gpt-test"
    assert values(seen.one("invoke_workflow"))["nexus.run.steps"] == 4
    assert values(seen.one("invoke_agent"))["nexus.run.steps"] == 3


def test_an_agent_as_a_tool_is_part_of_the_run(seen, play):
    inner = agent()

    def ask(question: str) -> str:
        """Asks somebody who knows."""
        return inner(question=question).answer

    with play(acts("ask", {"question": "?"}), FIND, FINISH, ANSWER, FINISH, ANSWER):
        agent(ask)(question=QUESTION)
    assert seen.names == {
        "invoke_agent dspy.ReAct": 2, "execute_tool ask": 1, "execute_tool find": 1, "chat gpt-test": 6
    }  # fmt: skip
    assert len({trace_id(span) for span in seen.spans}) == 1
    outer = seen.all("invoke_agent")[0]
    assert values(outer)["nexus.run.steps"] == 6


def test_names_are_those_that_people_gave(seen, play):
    class FindBirds(dspy.Signature):
        """Find birds."""

        question: str = dspy.InputField()
        answer: str = dspy.OutputField()

    class Keeper(dspy.ReAct):
        pass

    with play(FINISH, ANSWER, FINISH, ANSWER, ANSWER):
        dspy.ReAct(FindBirds, tools=[fail])(question=QUESTION)
        Keeper("question -> answer", tools=[fail])(question=QUESTION)
        dspy.ChainOfThought("question -> answer")(question=QUESTION)
    roots = [span.name for span in seen.spans if span.parent is None]
    assert roots == ["invoke_agent FindBirds", "invoke_agent Keeper", "invoke_workflow question -> answer"]


# -- tools -------------------------------------------------------------------------------------------------------------


def test_a_tool_sees_its_own_span(seen, play):
    names = []

    def look(bird: str) -> str:
        """Looks."""
        names.append(trace.get_current_span().name)
        return "nothing"

    with play(acts("look", {"bird": "x"}), FINISH, ANSWER):
        agent(look)(question=QUESTION)
    assert names == ["execute_tool look"]


def test_a_tool_that_fails(seen, play):
    with play(acts("fail", {"bird": CANARY}), FINISH, ANSWER):
        agent(fail)(question=QUESTION)
    tool = seen.one("execute_tool fail")
    assert tool.status.status_code is StatusCode.ERROR
    assert values(tool)["error.type"] == "LookupError"
    assert [event.name for event in tool.events] == ["exception"]
    assert seen.one("invoke_agent").status.status_code is StatusCode.UNSET


def test_wrong_arguments(seen, play):
    with play(acts("find", {"town": CANARY}), acts("find", {"bird": 7}), FINISH, ANSWER):
        agent()(question=QUESTION)
    tools = seen.all("execute_tool")
    assert [values(tool)["error.type"] for tool in tools] == ["ValueError", "ValueError"]
    assert values(tools[1])["nexus.tool.schema_errors"] == ("type:bird",)


def test_an_unknown_tool_of_the_text_protocol(seen, play):
    unread = contextlib.suppress(Exception)  # from 3.4 on the run fails, before it goes on to an answer
    with play(acts("fly", {"to": CANARY}), *([Reply("{}")] * 3), ANSWER, ANSWER), unread:
        agent()(question=QUESTION)
    tool = seen.one("execute_tool fly")
    assert values(tool)["nexus.tool.known"] is False
    assert values(tool)["nexus.derived"] is True
    assert values(tool)["error.type"] == "unknown_tool"
    root = values(seen.one("invoke_agent"))
    assert root.get("nexus.run.closed_by") or root["error.type"] == "AdapterParseError"


@needs_v2
def test_parallel_native_calls_and_an_unknown_one(seen, play):
    calls = asks(("find", {"bird": "a"}), ("find", {"bird": "b"}), ("fly", {}))
    with play(calls, SUBMIT, model="openai/gpt-4.1"), native():
        agent_v2()(question=QUESTION)
    assert seen.names == {
        "invoke_agent dspy.ReActV2": 1, "chat gpt-4.1": 2, "execute_tool find": 2, "execute_tool fly": 1
    }  # fmt: skip
    assert len({values(tool)["gen_ai.tool.call.id"] for tool in seen.all("execute_tool")}) == 3
    unknown = values(seen.one("execute_tool fly"))
    assert (unknown["nexus.tool.known"], unknown["nexus.derived"]) == (False, True)
    assert values(seen.one("invoke_agent"))["nexus.run.tool_calls"] == 3


# -- limits, failures --------------------------------------------------------------------------------------------------


def test_a_limit_of_steps_is_visible(seen, play):
    with play(FIND, FIND, ANSWER):
        agent(max_iters=2)(question=QUESTION)
    root = values(seen.one("invoke_agent"))
    assert root["nexus.run.closed_by"] == "max_iters"
    assert root["gen_ai.response.finish_reasons"] == ("error",)
    assert seen.one("invoke_agent").status.status_code is StatusCode.UNSET


@needs_v2
def test_an_answer_that_was_forced_is_visible(seen, play):
    with play(asks(("find", {"bird": "a"})), SUBMIT, model="openai/gpt-4.1"), native():
        agent_v2(max_iters=1)(question=QUESTION)
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "forced_submit"


def test_steps_that_were_left_out_are_visible(seen, play):
    over = [OVERFLOW] * (1 if VERSION >= (3, 4) else 2)
    with play(FIND, FIND, *over, FINISH, ANSWER):
        agent()(question=QUESTION)
    chat = next(span for span in seen.all("chat") if span.status.status_code is StatusCode.ERROR)
    assert values(chat)["nexus.error.class"] == "context_overflow"
    assert values(chat)["nexus.context.limit"] == 200_000
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "truncated"
    assert seen.one("invoke_agent").status.status_code is StatusCode.UNSET


def test_an_overflow_that_ends_the_loop(seen, play):
    over = [PROMPT_TOO_LONG] * (1 if VERSION >= (3, 4) else 2)
    with play(FIND, *over, ANSWER):
        agent()(question=QUESTION)
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "context_window_exceeded"


def test_a_provider_that_is_down(seen, play):
    with play(*[API_ERROR] * 4), pytest.raises(Exception, match="Internal server error"):
        agent()(question=QUESTION)
    root = seen.one("invoke_agent")
    assert root.status.status_code is StatusCode.ERROR
    assert [event.name for event in root.events] == []
    assert all(chat.status.status_code is StatusCode.ERROR for chat in seen.all("chat"))


def test_a_cancelled_run_is_no_failure(seen, play):
    async def run():
        task = asyncio.create_task(agent().acall(question=QUESTION))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with play(Reply(FIND.text, delay_s=2)):
        asyncio.run(run())
    root = seen.one("invoke_agent")
    assert root.status.status_code is StatusCode.UNSET
    assert values(root)["nexus.run.closed_by"] == "cancelled"
    gc.collect()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_limit_stops_the_run_before_its_next_model_call(seen, play, provider, colour):
    before = otel_context.get_current()
    ways = {
        "sync": lambda: agent()(question=QUESTION),
        "async": lambda: asyncio.run(agent().acall(question=QUESTION)),
    }
    with play(FIND, FIND, FIND, ANSWER) as lm, nexus_otel.limits(max_steps=2), pytest.raises(StepLimitExceeded):
        ways[colour]()
    assert len([request for request in provider.requests if request.key == lm.key]) == 2
    assert otel_context.get_current() is before
    assert values(seen.one("invoke_agent"))["error.type"] == "StepLimitExceeded"


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_an_answer_of_the_cache_is_marked_and_costs_nothing(seen, play, provider):
    with play(PLAIN, cache=True) as lm:
        for _ in range(2):
            dspy.Predict("question -> answer")(question=f"{QUESTION} {id(play)}")
    first, second = (values(chat) for chat in seen.all("chat"))
    assert "nexus.cache.hit" not in first
    assert second["nexus.cache.hit"] is True
    assert "gen_ai.usage.input_tokens" not in second
    assert sums(seen) == provider.usage_sent(lm.key)


# -- who else listens --------------------------------------------------------------------------------------------------


class Heard(dspy.utils.callback.BaseCallback):
    def __init__(self):
        self.ids = []

    def on_lm_start(self, call_id, instance, inputs):
        self.ids.append(call_id)


def test_callbacks_of_the_user_s_are_as_they_were(seen, play):
    mine, own = Heard(), Heard()
    with play(PLAIN) as lm:
        lm.callbacks = [own]
        with dspy.context(callbacks=[mine]):
            dspy.Predict("question -> answer")(question=QUESTION)
            assert dspy.settings.callbacks == dspy.settings.get("callbacks") == [mine]
    assert len(mine.ids) == 1
    assert mine.ids == own.ids
    assert seen.tree() == "invoke_workflow question -> answer\n  chat gpt-test"


def test_disabled_histories_change_nothing(seen, play, provider):
    with play(PLAIN) as lm, dspy.context(disable_history=True):
        dspy.Predict("question -> answer")(question=QUESTION)
    assert sums(seen) == provider.usage_sent(lm.key)


def test_a_model_of_the_user_s(seen):
    class Parrot(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return dspy.utils.dummies.dotdict(
                id="1",
                model="parrot-2",
                choices=[
                    dspy.utils.dummies.dotdict(
                        message=dspy.utils.dummies.dotdict(content=said(answer="hello")), finish_reason="stop"
                    )
                ],
                usage={"prompt_tokens": 5, "completion_tokens": 2},
            )

    with dspy.context(lm=Parrot("parrot")):
        dspy.Predict("question -> answer")(question=QUESTION)
    chat = values(seen.one("chat parrot"))
    assert (chat["gen_ai.response.model"], chat["gen_ai.usage.input_tokens"]) == ("parrot-2", 5)


def entry(**more):
    return {"response": None, "outputs": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}, **more}


class Parrot(dspy.BaseLM):
    """A model that is called past DSPy's callbacks."""

    def __call__(self, prompt=None, messages=None, **kwargs):
        told = entry(response_model="parrot-2")
        self.update_history(told) if VERSION >= (3,) else self.update_global_history(told)
        return [said(answer=trace.get_current_span().name)]

    async def acall(self, *args, **kwargs):
        await asyncio.sleep(0)
        return self(*args, **kwargs)


class Echo(Parrot):
    """One that calls another past the callbacks, and its own."""

    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


@pytest.mark.parametrize("kind", [Parrot, Echo])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_model_with_a_call_of_its_own(seen, kind, way):
    with dspy.context(lm=kind("parrot", temperature=0.25), adapter=dspy.ChatAdapter()):
        predict = dspy.Predict("question -> answer")
        given = {"question": QUESTION}
        answer = (predict(**given) if way == "sync" else asyncio.run(predict.acall(**given))).answer
    assert seen.tree() == "invoke_workflow question -> answer\n  chat parrot"
    assert answer == "chat parrot"
    chat = values(seen.one("chat"))
    assert (chat["gen_ai.response.model"], chat["gen_ai.request.temperature"]) == ("parrot-2", 0.25)
    assert sums(seen) == (5, 2)
    assert values(seen.one("invoke_workflow"))["nexus.run.steps"] == 1


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_call_of_its_own_above_dspy_s_is_one_span(seen, provider, way):
    class Above(dspy.LM):
        def __call__(self, *args, **kwargs):
            return super().__call__(*args, **kwargs)

        async def acall(self, *args, **kwargs):
            return await super().acall(*args, **kwargs)

    key = loaded([PLAIN], provider)
    lm = Above("openai/gpt-test", api_base=f"{provider.url}/v1", api_key=key, cache=False, num_retries=0)
    answer = lm(QUESTION) if way == "sync" else asyncio.run(lm.acall(QUESTION))
    assert len(answer) == 1
    assert seen.tree() == "chat gpt-test"
    assert sums(seen) == provider.usage_sent(key)
    assert values(seen.one("chat"))["gen_ai.response.finish_reasons"] == ("stop",)


def test_a_call_of_its_own_that_asks_twice_has_the_tokens_of_both(seen, provider):
    class Twice(dspy.LM):
        def __call__(self, *args, **kwargs):
            return super().__call__(*args, **kwargs) and super().__call__(*args, **kwargs)

    key = loaded([PLAIN, PLAIN], provider)
    Twice("openai/gpt-test", api_base=f"{provider.url}/v1", api_key=key, cache=False, num_retries=0)(QUESTION)
    assert seen.tree() == "chat gpt-test"
    assert sums(seen) == provider.usage_sent(key) == (200, 40)


def test_a_call_of_its_own_by_an_sdk_that_is_recorded_too_is_one_span(provider):
    openai = pytest.importorskip("openai")
    key = loaded([Reply("hello")], provider)

    class ByHand(dspy.BaseLM):
        def __call__(self, prompt=None, messages=None, **kwargs):
            asked = messages or [{"role": "user", "content": prompt}]
            with openai.OpenAI(base_url=f"{provider.url}/v1", api_key=key) as made:
                answer = made.chat.completions.create(model="gpt-test", messages=asked)
            return [answer.choices[0].message.content]

    with instrumented(DSPyInstrumentor, OpenAIInstrumentor) as seen:
        assert ByHand("openai/gpt-test")(QUESTION) == ["hello"]
    assert seen.tree() == "chat gpt-test"
    assert sums(seen) == provider.usage_sent(key)


def test_a_call_of_its_own_that_fails_or_must_not_be_made(seen):
    class Broken(Parrot):
        def __call__(self, *args, **kwargs):
            raise LookupError("no parrot")

    lm = Broken("parrot")
    with pytest.raises(LookupError, match="no parrot"):
        lm(QUESTION)
    assert values(seen.one("chat parrot"))["error.type"] == "LookupError"
    with dspy.context(lm=Parrot("parrot")), nexus_otel.limits(max_steps=1), pytest.raises(StepLimitExceeded):
        Pipeline()(question=QUESTION)
    assert seen.names["chat parrot"] == 2


def test_a_replaced_call_and_what_it_was_given_by_position(monkeypatch):
    def call(self, prompt=None, messages=None, **kwargs):
        return ["hello"]

    monkeypatch.setattr(dspy.LM, "__call__", call)
    with instrumented(DSPyInstrumentor, **content_mode("SPAN_ONLY")) as seen:
        assert dspy.LM("openai/gpt-test")(None, [{"role": "user", "content": QUESTION}]) == ["hello"]
    assert dspy.LM.__call__ is call
    chat = values(seen.one("chat gpt-test"))
    assert QUESTION in chat["gen_ai.input.messages"]
    assert "gen_ai.usage.input_tokens" not in chat


def test_a_class_of_models_is_pickled_as_it_was_written(seen):
    cloudpickle = pytest.importorskip("cloudpickle")

    class Local(Parrot):
        def __call__(self, prompt=None, messages=None, **kwargs):
            return ["hello"]

    pickled = cloudpickle.dumps(Local("parrot"))
    assert b"nexus_otel" not in pickled
    assert cloudpickle.loads(pickled)(QUESTION) == ["hello"]
    assert copy.deepcopy(Local("parrot"))(QUESTION) == ["hello"]


# -- batches -----------------------------------------------------------------------------------------------------------


def test_items_of_parallel_are_runs_of_their_own(seen, play):
    with play(*[PLAIN] * 3), seen.tracer.start_as_current_span("mine") as mine:
        program = dspy.Predict("question -> answer")
        dspy.Parallel(num_threads=2, disable_progress_bar=True)([(program, {"question": f"{n}"}) for n in range(3)])
    roots = seen.all("invoke_workflow")
    assert len({trace_id(span) for span in [*roots, seen.one("mine")]}) == 4
    assert [[link.context.span_id for link in root.links] for root in roots] == [[mine.context.span_id]] * 3


def test_parallel_parts_of_a_program_are_parts_of_its_run(seen, play):
    class Both(dspy.Module):
        def __init__(self):
            super().__init__()
            self.part = agent()

        def forward(self, question):
            pairs = [(self.part, {"question": question})] * 2
            return dspy.Parallel(num_threads=2, disable_progress_bar=True)(pairs)

    with play(*[FINISH] * 2, *[ANSWER] * 2):
        Both()(question=QUESTION)
    assert seen.names["invoke_workflow Both"] == 1
    assert seen.names["invoke_agent dspy.ReAct"] == 2
    assert len({trace_id(span) for span in seen.spans}) == 1


def test_items_of_an_evaluation_are_runs_of_their_own(seen, play):
    examples = [dspy.Example(question=f"{n}", answer="x").with_inputs("question") for n in range(3)]
    with play(*[PLAIN] * 3):
        evaluate = dspy.Evaluate(devset=examples, metric=lambda _example, _said: 1.0, num_threads=2)
        evaluate(dspy.Predict("question -> answer"))
    batch = seen.one("invoke_workflow evaluate")
    assert batch.name == "invoke_workflow evaluate question -> answer"
    items = seen.all("invoke_workflow question")
    assert len({trace_id(span) for span in [*items, batch]}) == 4
    assert {link.context.span_id for item in items for link in item.links} == {batch.context.span_id}


@pytest.mark.skipif(VERSION < (3, 4), reason="optimizers call back from 3.4 on")
def test_trials_of_an_optimizer_are_runs_of_their_own(seen, play):
    examples = [dspy.Example(question=f"{n}", answer="x").with_inputs("question") for n in range(2)]
    with play(*[PLAIN] * 8):
        optimizer = dspy.BootstrapFewShot(metric=lambda *_: True, max_bootstrapped_demos=2)
        optimizer.compile(dspy.Predict("question -> answer"), trainset=examples)
    batch = seen.all("invoke_workflow compile")[0]
    trials = seen.all("invoke_workflow question")
    assert trials
    assert {link.context.span_id for trial in trials for link in trial.links} == {batch.context.span_id}


def test_a_plain_thread_begins_a_run_of_its_own(seen, play):
    with play(PLAIN) as lm:
        predict = dspy.Predict("question -> answer")
        predict.lm = lm
        thread = threading.Thread(target=lambda: predict(question=QUESTION))
        thread.start()
        thread.join()
    assert seen.tree() == "invoke_workflow question -> answer\n  chat gpt-test"


# -- together ----------------------------------------------------------------------------------------------------------


def test_the_sdk_beneath_makes_no_second_span(play, provider):
    options = {"engine": "litellm"} if VERSION >= (3, 4) else {}
    with instrumented(DSPyInstrumentor, OpenAIInstrumentor) as seen, play(FIND, FINISH, ANSWER, **options) as lm:
        agent()(question=QUESTION)
    assert seen.tree() == TREE
    assert sums(seen) == provider.usage_sent(lm.key)
    assert {values(chat)["gen_ai.provider.name"] for chat in seen.all("chat")} == {"openai"}


def test_anthropic_s_tokens_are_counted_with_those_of_the_cache(seen, provider):
    key = loaded([Reply(said(answer="x"), usage=Usage(input=7, output=5, cache_read=30, cache_write=4))], provider)
    options = {"api_base": f"{provider.url}/v1"} if VERSION >= (3, 4) else {"api_base": provider.url}
    lm = dspy.LM("anthropic/claude-test", api_key=key, cache=False, num_retries=0, max_tokens=64, **options)
    with dspy.context(lm=lm):
        dspy.Predict("question -> answer")(question=QUESTION)
    chat = values(seen.one("chat claude-test"))
    assert chat["gen_ai.provider.name"] == "anthropic"
    assert chat["gen_ai.usage.input_tokens"] == 41
    assert chat["gen_ai.usage.cache_write.input_tokens"] == 4


def test_inner_steps_are_recorded_when_asked_for(play):
    with instrumented(DSPyInstrumentor, NEXUS_DETAIL="full") as seen, play(PLAIN):
        dspy.Predict("question -> answer")(question=QUESTION)
    assert seen.tree() == (
        "invoke_workflow question -> answer\n  format ChatAdapter\n  chat gpt-test\n  parse ChatAdapter"
    )


def test_content_of_a_run_is_what_its_signature_promises(play):
    with instrumented(DSPyInstrumentor, **content_mode("SPAN_ONLY")) as seen, play(FIND, FINISH, ANSWER):
        agent()(question=QUESTION)
    root = values(seen.one("invoke_agent"))
    assert QUESTION in root["gen_ai.input.messages"]
    assert f"The {CANARY} sits in its cage." in root["gen_ai.output.messages"]
    assert "trajectory" not in root["gen_ai.output.messages"]


def test_without_the_hook_there_is_one_warning(monkeypatch):
    import dspy.utils.callback as callbacks

    monkeypatch.delattr(callbacks, "dspy")
    with Kept("nexus_otel") as kept, instrumented(DSPyInstrumentor):
        pass
    assert [line for line in kept.lines if "dspy" in line] == kept.lines
    assert len(kept.lines) == 1
    assert "dspy.utils.callback.dspy" in kept.lines[0]


def test_a_request_of_dspy_s_own_client(seen, provider):
    lm15 = pytest.importorskip("dspy.lm15")
    key = loaded([PLAIN], provider)
    lm = model(provider.url, key)
    lm(lm15.Request(model=lm.model, messages=(lm15.Message.user(QUESTION),), system=CANARY))
    chat = values(seen.one("chat"))
    assert chat["gen_ai.usage.input_tokens"] == 100
    assert chat["nexus.message.count"] == 1
