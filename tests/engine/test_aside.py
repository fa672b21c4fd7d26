"""What a framework does aside: remarks, batches, methods that subclasses override, threads without a context."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from nexus_otel.engine.apart import keep_apart
from nexus_otel.engine.carry import carried
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.target import Call, Swap, Target
from nexus_otel.genai.operations import (
    AgentResult,
    AgentRun,
    Batch,
    InferenceResult,
    Remark,
    ToolCall,
    ToolResult,
    Usage,
)
from tests.engine.toy import Answer, model_request, user
from tests.kit.recording import Recording, instrumented, trace_id, values


class Base:
    """What a user extends."""

    name = "worker"
    workflow = False

    def ask(self, messages: Any, tools: Any = ()) -> Answer:
        """Ask."""
        raise NotImplementedError

    def count(self, tokens: int) -> None:
        """Take note of tokens."""

    def finish(self, reason: str) -> None:
        """Take note of why an answer ended."""

    def invoke(self, question: str) -> str:
        """Ask once."""
        return self.ask([user(question)]).text

    def last(self, question: str) -> str:
        """Give up, and ask once more."""
        self.give_up()
        return self.invoke(question)

    def give_up(self) -> None:
        """Have no step left."""

    def each(self, questions: list[str]) -> list[str]:
        """Ask many things."""
        return [type(self)().invoke(question) for question in questions]

    def use(self, *tries: BaseException | str) -> str:
        """Use a tool, which may fail, until it works."""
        answer = ""
        for one in tries:
            answer = f"it said {one}"
            self.met(one if isinstance(one, BaseException) else None)
        return answer

    def met(self, error: BaseException | None) -> None:
        """Take note of what a tool raised."""

    def work(self) -> str:
        """Ask, in a thread."""
        return self.invoke("q")

    def threaded(self, question: str) -> str:
        """Work in a thread."""
        with ThreadPoolExecutor() as pool:
            return pool.submit(self.work).result()

    def by_thread(self, question: str) -> str:
        """Work in a bare thread."""
        thread = threading.Thread(target=self.work)
        thread.start()
        thread.join()
        return ""


class Asks(Base):
    """One that was there before."""

    def ask(self, messages: Any, tools: Any = ()) -> Answer:
        self.count(3)
        self.count(4)
        self.finish("stop")
        return Answer("done")


def _given(call: Call) -> Any:
    return next(iter(call.arguments.values()), None)


def _run(call: Call) -> AgentRun:
    return AgentRun(call.instance.name, subject=id(call.instance))


def _met(call: Call) -> Remark:
    return Remark(ToolResult(), _given(call))


def _target(name: str, request: Any, response: Any = None, **more: Any) -> Target:
    return Target(module=__name__, name=f"Base.{name}", request=request, response=response, **more)


class AsideInstrumentor(Instrumentor):
    """Records all of it."""

    package = "toy"
    targets = (
        _target("ask", model_request, lambda _answer: InferenceResult(), overridden=True),
        _target("count", lambda call: Remark(InferenceResult(usage=Usage(_given(call), 1)))),
        _target("finish", lambda call: Remark(InferenceResult(finish_reasons=(_given(call),)))),
        *(_target(name, _run) for name in ("invoke", "last", "threaded", "by_thread")),
        _target("give_up", lambda _call: Remark(AgentResult(closed_by="limit"))),
        _target("each", lambda _call: Batch()),
        _target("use", lambda _call: ToolCall("lookup"), ToolResult),
        _target("met", _met),
    )
    replacements = (Swap(__name__, "Base.work", carried),)


@pytest.fixture
def seen() -> Any:
    with instrumented(AsideInstrumentor) as recording:
        yield recording


ONE = "invoke_agent worker\n  chat toy-1"


# -- what is said in passing -------------------------------------------------------------------------------------------


def test_what_is_said_of_a_model_call_is_on_its_span(seen: Recording) -> None:
    Asks().invoke("q")
    chat = values(seen.one("chat"))
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) == (7, 2)
    assert chat["gen_ai.response.finish_reasons"] == ("stop",)
    assert values(seen.one("invoke_agent"))["nexus.usage.input_tokens"] == 7


def test_what_is_said_where_nothing_is_open_is_not_heard(seen: Recording) -> None:
    asks = Asks()
    asks.count(1)
    asks.finish("stop")
    asks.give_up()
    asks.met(ValueError())
    assert seen.spans == []


def test_a_limit_that_raises_nothing_is_told(seen: Recording) -> None:
    Asks().last("q")
    assert values(seen.one("invoke_agent"))["nexus.run.closed_by"] == "limit"


def test_a_tool_s_exception_that_its_library_keeps_is_that_of_the_call(seen: Recording) -> None:
    assert Asks().use(ValueError("a"), KeyError("b")) == "it said 'b'"
    tool = seen.one("execute_tool")
    assert values(tool)["error.type"] == "KeyError"
    assert values(tool)["nexus.tool.failed"] is True
    assert [event.name for event in tool.events] == ["exception"]


def test_a_later_try_that_works_takes_it_back(seen: Recording) -> None:
    Asks().use(ValueError("a"), "fine")
    tool = seen.one("execute_tool")
    assert tool.status.status_code is StatusCode.UNSET
    assert values(tool)["nexus.tool.failed"] is False


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ambient", [False, True])
def test_the_items_of_a_batch_are_runs_apart(seen: Recording, ambient: bool) -> None:
    if ambient:
        with seen.tracer.start_as_current_span("mine") as mine:
            Asks().each(["a", "b"])
    else:
        Asks().each(["a", "b"])
    roots = seen.all("invoke_agent")
    assert len({trace_id(root) for root in roots}) == 2
    wanted = [[mine.get_span_context().span_id]] * 2 if ambient else [[], []]
    assert [[link.context.span_id for link in root.links] for root in roots] == wanted
    assert seen.names["chat toy-1"] == 2
    assert {trace_id(chat) for chat in seen.all("chat")} == {trace_id(root) for root in roots}


def test_what_an_item_runs_is_part_of_it(seen: Recording) -> None:
    class Outer(Asks):
        name = "outer"

        def ask(self, messages: Any, tools: Any = ()) -> Answer:
            return Answer(Asks().invoke("inner"))

    Outer().each(["a"])
    assert seen.tree() == "invoke_agent outer\n  chat toy-1\n    invoke_agent worker\n      chat toy-1"


# -- subclasses --------------------------------------------------------------------------------------------------------


def test_a_subclass_made_before_and_one_made_after_are_recorded(seen: Recording) -> None:
    class Later(Base):
        def ask(self, messages: Any, tools: Any = ()) -> Answer:
            return Answer("later")

    assert Later().invoke("q") == "later"
    Asks().invoke("q")
    assert seen.tree() == f"{ONE}\n{ONE}"


def test_one_that_calls_the_other_is_one_call(seen: Recording) -> None:
    class Polite(Asks):
        def ask(self, messages: Any, tools: Any = ()) -> Answer:
            return super().ask(messages, tools)

    Polite().invoke("q")
    assert seen.tree() == ONE


def test_afterwards_every_class_has_its_own_methods_back() -> None:
    before = dict(vars(Base)), vars(Asks)["ask"]
    with instrumented(AsideInstrumentor):

        class Later(Base):
            def ask(self, messages: Any, tools: Any = ()) -> Answer:
                return Answer("later")

        assert vars(Asks)["ask"] is not before[1]
    assert (dict(vars(Base)), vars(Asks)["ask"]) == before
    assert not hasattr(vars(Later)["ask"], "__wrapped__")


def test_a_hook_of_the_library_s_own_is_called_and_comes_back() -> None:
    made: list[str] = []
    before = Base.__init_subclass__

    def hook(cls: type, **given: Any) -> None:
        made.append(f"{cls.__name__} {sorted(given)}")

    Base.__init_subclass__ = classmethod(hook)  # type: ignore[assignment, method-assign]
    mine = vars(Base)["__init_subclass__"]
    with instrumented(AsideInstrumentor) as seen:

        class Later(Base, strict=True):
            def ask(self, messages: Any, tools: Any = ()) -> Answer:
                return Answer("later")

        Later().invoke("q")
    assert vars(Base)["__init_subclass__"] is mine
    del Base.__init_subclass__
    assert Base.__init_subclass__ == before
    assert made == ["Later ['strict']"]
    assert seen.tree() == ONE


# -- threads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["threaded", "by_thread"])
def test_a_thread_without_a_context_is_part_of_the_run(seen: Recording, way: str) -> None:
    getattr(Asks(), way)("q")
    assert seen.tree() == ONE


def test_a_method_looked_up_elsewhere_runs_where_it_is_called(seen: Recording) -> None:
    with seen.tracer.start_as_current_span("there"):
        work = Asks().work
    with seen.tracer.start_as_current_span("here"):
        work()
    assert seen.tree() == "there\nhere\n  invoke_agent worker\n    chat toy-1"


# -- the provider of a library's telemetry -----------------------------------------------------------------------------


def test_a_library_s_provider_is_its_own() -> None:
    before = trace.get_tracer_provider()
    apart = keep_apart(trace)
    with instrumented() as theirs:
        apart.set_tracer_provider(theirs.tracer_provider)
        assert apart.get_tracer_provider() is theirs.tracer_provider
        apart.get_tracer("theirs").start_span("telemetry").end()
    assert trace.get_tracer_provider() is before
    assert theirs.names == {"telemetry": 1}
    assert keep_apart(apart) is apart
    assert apart.StatusCode is StatusCode
