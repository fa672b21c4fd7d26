"""LlamaIndex over Anthropic's and OpenAI's SDKs; its integration of Anthropic's cannot be used with one that traces."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI, OpenAIResponses

from tests.fakes.provider import Reply, ToolUse
from tests.frameworks.together.kit import USED

STEPS = Reply("I look.", tools=[ToolUse("find", {"bird": "tit"})], usage=USED[0]), Reply("In the cage.", usage=USED[1])
ASKED = [ChatMessage("Where is the tit?")]


def find(bird: str) -> str:
    """Finds a bird."""
    return f"{bird}: in the cage"


def anthropic(url, key):
    from llama_index.llms.anthropic import Anthropic

    return Anthropic(model="claude-3-haiku-20240307", base_url=url, api_key=key, max_retries=0)


def openai(url, key):
    counted = {"stream_options": {"include_usage": True}}
    model = OpenAI(model="gpt-4o-mini", api_base=f"{url}/v1", api_key=key, max_retries=0)
    model.additional_kwargs = counted
    return model


def responses(url, key):
    return OpenAIResponses(model="gpt-4o-mini", api_base=f"{url}/v1", api_key=key, max_retries=0)


HERE = importlib.util.find_spec("llama_index.llms.anthropic") is not None
MODELS = [pytest.param(anthropic, marks=pytest.mark.skipif(not HERE, reason="not installed")), openai, responses]


def of(model):
    return ("anthropic", "claude-3-haiku-20240307") if model is anthropic else ("openai", "gpt-4o-mini")


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_an_agent_is_one_tree(together, model, streaming):
    url, key = together.plays(*STEPS)
    made = model(url, key)
    if not streaming:
        made.__dict__.pop("additional_kwargs", None)
        made.additional_kwargs = {}

    async def run():
        return await FunctionAgent(name="keeper", tools=[find], llm=made, streaming=streaming).run("Where is the tit?")

    assert str(asyncio.run(run())) == "In the cage."
    who, called = of(model)
    together.is_one_tree(
        key, "invoke_agent keeper", f"  chat {called}", "  execute_tool find", f"  chat {called}",
        provider=who, totals=["invoke_agent"],
    )  # fmt: skip


WAYS = {
    "chat": lambda model: model.chat(ASKED),
    "stream_chat": lambda model: list(model.stream_chat(ASKED)),
    "achat": lambda model: asyncio.run(_whole(model)),
    "astream_chat": lambda model: asyncio.run(_pieces(model)),
}


async def _whole(model):
    return await model.achat(ASKED)


async def _pieces(model):
    return [piece async for piece in await model.astream_chat(ASKED)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS)
def test_a_call_is_one_span(together, model, way):
    url, key = together.plays(STEPS[1])
    made = model(url, key)
    if "stream" not in way:
        made.additional_kwargs = {}
    WAYS[way](made)
    who, called = of(model)
    together.is_one_tree(key, f"chat {called}", provider=who)
