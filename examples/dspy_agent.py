"""A weather agent on DSPy: `dspy.ReAct`, in three ways.

Without OPENAI_API_KEY it runs offline, on a scripted provider.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import dspy

QUESTION = "How warm is it in Paris and Atlantis?"

# --- The agent -------------------------------------------------------------------------------

WEATHER = {"Paris": "18 °C, sunny", "Oslo": "-3 °C, snow", "Lima": "22 °C, fog"}


class AnswerAboutWeather(dspy.Signature):
    """Answer questions about the weather. Use the tools; never guess a temperature."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


def get_weather(city: str) -> str:
    """Look up the current weather of a city."""
    if city not in WEATHER:
        raise ValueError(f"No weather station in {city}.")
    return WEATHER[city]


def agent() -> dspy.ReAct:
    """The agent: a signature and its tools."""
    return dspy.ReAct(AnswerAboutWeather, tools=[get_weather])


async def streamed(question: str) -> Any:
    """Let it answer as a stream, of which only the last item is read here."""
    items = [item async for item in dspy.streamify(agent())(question=question)]
    return items[-1]


def answer(how: str, question: str) -> str:
    """Let the agent answer a question."""
    if how == "async":
        return str(asyncio.run(agent().acall(question=question)).answer)
    if how == "stream":
        return str(asyncio.run(streamed(question)).answer)
    return str(agent()(question=question).answer)


# --- Offline: no account, no network ---------------------------------------------------------


def _step(thought: str, tool: str, **arguments: Any) -> str:
    """What a model says to take a step, as DSPy's chat adapter reads it."""
    fields = {"next_thought": thought, "next_tool_name": tool, "next_tool_args": json.dumps(arguments), "completed": ""}
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())


@contextmanager
def offline_provider() -> Iterator[dict[str, str]]:
    """How to connect to a provider on this machine that follows a script and ignores the question."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.fakes.provider import Provider, Reply

    with Provider() as provider:
        provider.load(
            [
                Reply(_step("I look up the first city.", "get_weather", city="Paris")),
                Reply(_step("And the second.", "get_weather", city="Atlantis")),
                Reply(_step("Atlantis is unknown.", "finish")),
                Reply(
                    "[[ ## reasoning ## ]]\nI looked.\n\n[[ ## answer ## ]]\nParis has 18 °C.\n\n[[ ## completed ## ]]"
                ),
            ]
        )
        yield {"api_base": f"{provider.url}/v1", "api_key": "offline"}


# --- The command -----------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Print the agent's answer."""
    parser = argparse.ArgumentParser(description="Ask an agent about the weather.")
    parser.add_argument("--how", choices=["sync", "async", "stream"], default="sync")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--model", default="openai/gpt-5-nano")
    options = parser.parse_args(arguments)

    settings = os.environ
    if settings.get("OPENAI_API_KEY"):
        with dspy.context(lm=dspy.LM(options.model)):
            print(answer(options.how, options.question))
        return
    with offline_provider() as connection, dspy.context(lm=dspy.LM("openai/offline", cache=False, **connection)):
        print(answer(options.how, options.question))


if __name__ == "__main__":
    main()
