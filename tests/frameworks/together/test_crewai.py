"""CrewAI over its own providers, which use the SDKs, and over LiteLLM, which uses OpenAI's for the models of OpenAI."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Task
from crewai.tools import BaseTool

from nexus_otel.genai.own import own
from tests.fakes.provider import Reply, ToolUse
from tests.frameworks.together.kit import USED

STEPS = Reply("", tools=[ToolUse("find", {"bird": "tit"})], usage=USED[0]), Reply("In the cage.", usage=USED[1])
MODELS: dict[str, dict[str, Any]] = {
    "openai": {"model": "openai/gpt-4.1"},
    "anthropic": {"model": "anthropic/claude-sonnet-4-5"},
    "litellm, openai": {"model": "openai/gpt-4.1", "is_litellm": True},
    "litellm, anthropic": {"model": "anthropic/claude-sonnet-4-5", "is_litellm": True},
}


class Find(BaseTool):
    name: str = "find"
    description: str = "Finds a bird."

    def _run(self, bird: str) -> str:
        return f"{bird}: in the cage"


def crew(url, key, model, **more):
    base = f"{url}/v1" if model["model"].startswith("openai") else url
    llm = LLM(**model, base_url=base, api_key=key, **more)
    agent = Agent(role="Keeper", goal="Keep birds", backstory="Old", tools=[Find()], llm=llm, max_retry_limit=0)
    task = Task(description="Where is the tit?", expected_output="A place", agent=agent)
    return Crew(name="aviary", agents=[agent], tasks=[task])


WAYS = {
    "kickoff": lambda crew: crew.kickoff(),
    "kickoff_async": lambda crew: asyncio.run(crew.kickoff_async()),
    "akickoff": lambda crew: asyncio.run(crew.akickoff()),
}


LOST = ("litellm, anthropic", "streamed")
"""CrewAI 1.15.30 loses the ids of tool calls that LiteLLM streams, and Anthropic asks for them: it fails without us too."""
CELLS = [(model, how) for model in MODELS for how in ("whole", "streamed") if (model, how) != LOST]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("model", "how"), CELLS)
def test_a_crew_is_one_tree(together, monkeypatch, model, how, way):
    url, key = together.plays(*STEPS)
    monkeypatch.setattr(own, "traces", True)  # the SDK's spans of `count_tokens` are no calls, and none of ours
    WAYS[way](crew(url, key, MODELS[model], stream=how == "streamed"))
    who, called = MODELS[model]["model"].split("/")
    together.is_one_tree(
        key, "invoke_workflow aviary", "  invoke_agent Keeper", f"    chat {called}", "    execute_tool find",
        f"    chat {called}", provider=who, totals=["invoke_workflow", "invoke_agent"],
    )  # fmt: skip
