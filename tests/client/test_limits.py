"""Limits of a run: its next model call is not made, nor any retry of it, and the trace shows why."""

from __future__ import annotations

import anthropic
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

import nexus_otel
from nexus_otel import (
    AgentGuardError,
    CostLimitExceeded,
    LoopDetected,
    NexusError,
    StepLimitExceeded,
    TokenLimitExceeded,
    _guard,
)
from nexus_otel.engine.driver import runs
from nexus_otel.engine.limits import stopped
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.engine.toy import Answer, Model, Tool, ToyInstrumentor, answers, calls, user
from tests.engine.toy_framework import Agent, FrameworkInstrumentor
from tests.fakes.provider import Reply, ToolUse, Usage
from tests.kit.fixtures import failures_allowed
from tests.kit.recording import instrumented, values

ASK = {"model": "claude-test", "max_tokens": 9, "tools": [{"name": "look", "input_schema": {"type": "object"}}]}


def loop(client, **asked):
    """A loop that never ends by itself."""
    messages = [{"role": "user", "content": "x"}]
    while True:
        answer = client.messages.create(messages=messages, **{**ASK, **asked})
        result = [{"type": "tool_result", "tool_use_id": answer.content[0].id, "content": "nothing"}]
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": result}]


@pytest.fixture
def client(provider):
    provider.load([Reply(tools=[ToolUse("look", {"key": "a"})], usage=Usage(10, 2))] * 50, "limited")
    with anthropic.Anthropic(base_url=provider.url, api_key="limited", max_retries=0) as client:
        yield client


def requests(provider):
    return sum(1 for request in provider.requests if request.key == "limited")


@pytest.mark.parametrize(
    ("variable", "value", "error"),
    [("NEXUS_MAX_STEPS", "3", StepLimitExceeded), ("NEXUS_MAX_TOKENS", "30", TokenLimitExceeded)],
)
def test_a_limit_stops_a_hand_written_loop(client, provider, variable, value, error):
    before = requests(provider)
    limited = instrumented(AnthropicInstrumentor, **{variable: value})
    with limited as seen, pytest.raises(error, match=variable) as raised:
        loop(client)
    assert requests(provider) - before == 3
    assert raised.value.evidence["steps"] == 3
    assert raised.value.evidence["sequence"] == ["look"] * 3
    root = next(span for span in seen.spans if span.name.startswith("invoke_agent"))
    assert root.status.status_code is StatusCode.ERROR
    assert values(root)["error.type"] == error.__name__
    assert values(root)["nexus.run.steps"] == 3


def test_every_retry_of_the_run_raises_again(client, provider):
    before = requests(provider)
    with instrumented(AnthropicInstrumentor), nexus_otel.limits(max_steps=2):
        messages = [{"role": "user", "content": "x"}]
        for _ in range(2):
            answer = client.messages.create(messages=messages, **ASK)
            result = [{"type": "tool_result", "tool_use_id": answer.content[0].id, "content": "nothing"}]
            messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": result}]
        for _ in range(3):
            with pytest.raises(StepLimitExceeded):
                client.messages.create(messages=messages, **ASK)
    assert requests(provider) - before == 2


def test_another_run_is_not_stopped(client):
    with instrumented(AnthropicInstrumentor), nexus_otel.limits(max_steps=2):
        for _ in range(2):
            with pytest.raises(StepLimitExceeded):
                loop(client)


def test_a_limit_holds_without_a_recorded_span():
    model = Model(calls())
    limited = instrumented(FrameworkInstrumentor, ToyInstrumentor, sampler=ALWAYS_OFF, NEXUS_MAX_STEPS="4")
    with limited, pytest.raises(StepLimitExceeded):
        Agent(model, Tool()).invoke("q")
    assert model.asked == 4


def test_a_framework_s_run_with_its_sub_agents_is_one():
    inner = Model(Answer("x"))
    model = Model(calls("wait"))
    outer = Agent(model, Tool("wait", lambda: Agent(inner, name="sub").invoke("q")))
    instrumented_both = instrumented(FrameworkInstrumentor, ToyInstrumentor)
    with instrumented_both, nexus_otel.limits(max_steps=5), pytest.raises(StepLimitExceeded):
        outer.invoke("q")
    assert model.asked + inner.asked == 5


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
def test_a_cost_limit_stops_a_run_whose_price_is_known(provider):
    pytest.importorskip("genai_prices")
    provider.load([Reply(tools=[ToolUse("look", {"key": "a"})], usage=Usage(100_000, 20))] * 9, "dear")
    with anthropic.Anthropic(base_url=provider.url, api_key="dear", max_retries=0) as client:
        limited = nexus_otel.limits(max_cost=0.5)
        with instrumented(AnthropicInstrumentor) as seen, limited, pytest.raises(CostLimitExceeded) as raised:
            loop(client, model="claude-sonnet-4-5")
    assert raised.value.evidence["steps"] == 2
    root = next(span for span in seen.spans if span.name.startswith("invoke_agent"))
    assert values(root)["nexus.run.cost"] > 0.5


def test_a_cost_limit_without_a_price_is_told_and_stops_nothing(client):
    pytest.importorskip("genai_prices")
    with failures_allowed(), instrumented(AnthropicInstrumentor), nexus_otel.limits(max_cost=0.01, max_steps=3):
        with pytest.raises(StepLimitExceeded):
            loop(client)
        assert [place for place in _guard.failures if "price of" in place] == ["price of claude-test"]


def test_no_limit_stops_nothing():
    with instrumented(ToyInstrumentor):
        model = Model(calls())
        messages = [user()]
        for _ in range(60):
            messages += answers(model.ask(messages))
    assert model.asked == 60


def test_a_loop_that_was_found_stops_the_run():
    model = Model(calls())
    with instrumented(ToyInstrumentor), nexus_otel.limits(on_loop="raise"):
        messages = [user()]
        messages += answers(model.ask(messages))
        (run,) = runs._table
        error = LoopDetected("add called 3 times", {"count": 3})
        stopped.stop(run.span.get_span_context().trace_id, error)
        with pytest.raises(LoopDetected, match="add called 3 times") as raised:
            model.ask(messages)
        assert raised.value is not error
        assert raised.value.evidence == {"count": 3}
    assert model.asked == 1


def test_an_inner_block_s_limits_hold():
    model = Model(calls())
    with instrumented(ToyInstrumentor), nexus_otel.limits(max_steps=1), nexus_otel.limits(max_steps=3):
        messages = [user()]
        for _ in range(3):
            messages += answers(model.ask(messages))
        with pytest.raises(AgentGuardError):
            model.ask(messages)
    assert model.asked == 3


@pytest.mark.parametrize("given", [{"max_steps": 0}, {"max_tokens": "9"}, {"on_loop": "stop"}, {"max_cost": True}])
def test_wrong_limits_are_told(given):
    with pytest.raises(NexusError, match=next(iter(given))):
        nexus_otel.limits(**given)
