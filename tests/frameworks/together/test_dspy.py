"""DSPy over LiteLLM, which uses OpenAI's SDK for the models of OpenAI, and over its own client, which uses none."""

from __future__ import annotations

import asyncio
import json

import dspy
import pytest

from tests.fakes.provider import Reply
from tests.frameworks.together.kit import USED


def said(**fields):
    texts = [f"[[ ## {name} ## ]]\n{value}" for name, value in {**fields, "completed": ""}.items()]
    return "\n\n".join(texts)


def acts(tool, arguments, usage):
    return Reply(said(next_thought="!", next_tool_name=tool, next_tool_args=json.dumps(arguments)), usage=usage)


STEPS = (
    acts("find", {"bird": "tit"}, USED[0]),
    acts("finish", {}, USED[1]),
    Reply(said(reasoning="I saw it.", answer="In the cage."), usage=USED[0]),
)


def find(bird: str) -> str:
    """Finds a bird."""
    return f"{bird}: in the cage"


async def read(agent):
    with dspy.context(track_usage=True):
        return [each async for each in dspy.streamify(agent)(question="Where is the tit?")]


WAYS = {
    "call": lambda agent: agent(question="Where is the tit?"),
    "acall": lambda agent: asyncio.run(agent.acall(question="Where is the tit?")),
    "streamify": lambda agent: asyncio.run(read(agent)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", ["litellm", "lm15"])
@pytest.mark.parametrize("model", ["openai/gpt-test", "anthropic/claude-test"])
def test_an_agent_is_one_tree(together, model, engine, way):
    url, key = together.plays(*STEPS)
    base = url if (model.startswith("anthropic"), engine) == (True, "litellm") else f"{url}/v1"
    lm = dspy.LM(model, api_base=base, api_key=key, cache=False, num_retries=0, max_tokens=64, engine=engine)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        WAYS[way](dspy.ReAct("question -> answer", tools=[find]))
    who, called = model.split("/")
    together.is_one_tree(
        key, "invoke_agent dspy.ReAct", f"  chat {called}", "  execute_tool find", f"  chat {called}",
        f"  chat {called}", provider=who, totals=["invoke_agent"],
    )  # fmt: skip
