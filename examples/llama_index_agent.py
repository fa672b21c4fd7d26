"""A weather agent on LlamaIndex's `FunctionAgent`, over Anthropic's models.

Without ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY it runs offline, on a scripted provider.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.anthropic import Anthropic

QUESTION = "How warm is it in Paris, Oslo and Atlantis? Please answer in Celsius and in Fahrenheit."
SYSTEM = "You answer questions about the weather. Use the tools; never guess a temperature."

# --- The tools -------------------------------------------------------------------------------

WEATHER = {"Paris": "18 °C, sunny", "Oslo": "-3 °C, snow", "Lima": "22 °C, fog"}


def get_weather(city: str) -> str:
    """Look up the current weather of a city."""
    if city not in WEATHER:
        raise ValueError(f"No weather station in {city}.")
    return WEATHER[city]


def to_fahrenheit(celsius: float) -> str:
    """Convert a temperature from Celsius to Fahrenheit."""
    return f"{celsius * 9 / 5 + 32:.1f} °F"


# --- The agent -------------------------------------------------------------------------------


async def answer(connection: dict[str, Any], model: str, question: str) -> str:
    """Let the agent answer a question, and show on stderr which tools it calls meanwhile."""
    agent = FunctionAgent(
        name="weather",
        description="Answers questions about the weather.",
        system_prompt=SYSTEM,
        tools=[get_weather, to_fahrenheit],
        llm=Anthropic(model=model, max_retries=0, **connection),
    )
    handler = agent.run(question)
    async for event in handler.stream_events():
        if type(event).__name__ == "ToolCallResult":
            print(f"{event.tool_name}: {event.tool_output.content}", file=sys.stderr)
    return str(await handler)


# --- Offline: no account, no network ---------------------------------------------------------


@contextmanager
def offline_provider(steps: int) -> Iterator[dict[str, Any]]:
    """How to connect to a provider on this machine that follows a script and ignores the question."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.fakes.provider import Provider, demo_script

    with Provider() as provider:
        provider.load(demo_script(steps))
        yield {"base_url": provider.url, "api_key": "offline"}


# --- The command -----------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Print the agent's answer."""
    parser = argparse.ArgumentParser(description="Ask an agent about the weather.")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--model", default="claude-3-haiku-20240307")
    parser.add_argument("--steps", type=int, default=4, help="offline: how many replies ask for tools")
    options = parser.parse_args(arguments)

    settings = os.environ
    if settings.get("ANTHROPIC_BASE_URL") or settings.get("ANTHROPIC_API_KEY"):
        connection = {"base_url": settings.get("ANTHROPIC_BASE_URL"), "api_key": settings.get("ANTHROPIC_API_KEY")}
        print(asyncio.run(answer(connection, options.model, options.question)))
        return
    with offline_provider(options.steps) as connection:
        print(asyncio.run(answer(connection, options.model, options.question)))


if __name__ == "__main__":
    main()
