"""LangChain and LangGraph over langchain-anthropic and langchain-openai."""

from __future__ import annotations

import asyncio

import anthropic as sdk
import pytest
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.fakes.provider import Reply, ToolUse
from tests.frameworks.together.kit import NATIVE, USED
from tests.kit.recording import Recording

STEPS = Reply("I look.", tools=[ToolUse("find", {"bird": "tit"})], usage=USED[0]), Reply("In the cage.", usage=USED[1])
TREE = "invoke_agent keeper", "  chat claude-test", "  execute_tool find", "  chat claude-test"
QUESTION = {"messages": [("user", "Where is the tit?")]}


def anthropic(url, key):
    return ChatAnthropic(model="claude-test", base_url=url, api_key=key, max_retries=0)


def traced(url, key, **option):
    model = anthropic(url, key)
    given = {"open_telemetry": {"traces": {"content_mode": "content"}, **option}, "base_url": url, "api_key": key}
    vars(model)["_client"], vars(model)["_async_client"] = sdk.Anthropic(**given), sdk.AsyncAnthropic(**given)
    return model


def openai(url, key):
    return ChatOpenAI(model="gpt-test", base_url=f"{url}/v1", api_key=key, max_retries=0, stream_usage=True)


def responses(url, key):
    return ChatOpenAI(model="gpt-test", base_url=f"{url}/v1", api_key=key, max_retries=0, use_responses_api=True)


async def read(stream):
    return [event async for event in stream]


WAYS = {
    "invoke": lambda agent: agent.invoke(QUESTION),
    "stream": lambda agent: list(agent.stream(QUESTION, stream_mode="messages")),
    "ainvoke": lambda agent: asyncio.run(agent.ainvoke(QUESTION)),
    "astream": lambda agent: asyncio.run(read(agent.astream(QUESTION, stream_mode="messages"))),
    "astream_events": lambda agent: asyncio.run(read(agent.astream_events(QUESTION, version="v2"))),
}


@tool
def find(bird: str) -> str:
    """Finds a bird."""
    return f"{bird}: in the cage"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", [anthropic, openai, responses])
def test_an_agent_is_one_tree(together, model, way):
    url, key = together.plays(*STEPS)
    WAYS[way](create_agent(model(url, key), [find], name="keeper"))
    who, called = ("anthropic", "claude-test") if model is anthropic else ("openai", "gpt-test")
    tree = [line.replace("claude-test", called) for line in TREE]
    together.is_one_tree(key, *tree, provider=who, totals=["invoke_agent"])


@pytest.mark.skipif(not NATIVE, reason="the SDK makes no spans of its own")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asked", ["variable", "option"])
def test_an_agent_is_one_tree_where_the_sdk_s_own_spans_are_asked_for(together, monkeypatch, way, asked):
    if asked == "variable":
        monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "true")
    url, key = together.plays(*STEPS)
    WAYS[way](create_agent((traced if asked == "option" else anthropic)(url, key), [find], name="keeper"))
    together.is_one_tree(key, *TREE, provider="anthropic", totals=["invoke_agent"])


@pytest.mark.skipif(not NATIVE, reason="the SDK makes no spans of its own")
def test_spans_that_the_sdk_sends_elsewhere_stay_as_they_are(together):
    elsewhere = Recording()
    url, key = together.plays(*STEPS)
    create_agent(traced(url, key, tracer_provider=elsewhere.tracer_provider), [find], name="keeper").invoke(QUESTION)
    together.is_one_tree(key, *TREE, provider="anthropic", totals=["invoke_agent"])
    assert elsewhere.names == {"anthropic.messages.create": 2}
