"""A weather agent on the Anthropic SDK: a loop written by hand, in four ways.

Without ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY it runs offline, on a scripted provider.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anthropic import Anthropic, AsyncAnthropic

QUESTION = "How warm is it in Paris, Oslo and Atlantis? Please answer in Celsius and in Fahrenheit."
SYSTEM = "You answer questions about the weather. Use the tools; never guess a temperature."

# --- The tools -------------------------------------------------------------------------------

WEATHER = {"Paris": "18 °C, sunny", "Oslo": "-3 °C, snow", "Lima": "22 °C, fog"}


def get_weather(city: str) -> str:
    """Look up the current weather of a city.

    Args:
        city: Its name, in English.
    """
    if city not in WEATHER:
        raise ValueError(f"No weather station in {city}.")
    return WEATHER[city]


def to_fahrenheit(celsius: float) -> str:
    """Convert a temperature from Celsius to Fahrenheit.

    Args:
        celsius: Degrees Celsius.
    """
    return f"{celsius * 9 / 5 + 32:.1f} °F"


TOOLS: dict[str, Callable[..., str]] = {"get_weather": get_weather, "to_fahrenheit": to_fahrenheit}

TOOL_DEFINITIONS: list[Any] = [
    {
        "name": "get_weather",
        "description": "Look up the current weather of a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name, in English."}},
            "required": ["city"],
        },
    },
    {
        "name": "to_fahrenheit",
        "description": "Convert a temperature from Celsius to Fahrenheit.",
        "input_schema": {
            "type": "object",
            "properties": {"celsius": {"type": "number", "description": "Degrees Celsius."}},
            "required": ["celsius"],
        },
    },
]


def run_tool(block: Any) -> dict[str, Any]:
    """Run the tool a block asks for. A tool that fails tells the model why."""
    result = {"type": "tool_result", "tool_use_id": block.id}
    try:
        return {**result, "content": TOOLS[block.name](**block.input)}
    except (KeyError, TypeError, ValueError) as error:
        return {**result, "content": str(error), "is_error": True}


def run_tools(reply: Any) -> dict[str, Any]:
    """The message that answers every tool use of a reply."""
    results = [run_tool(block) for block in reply.content if block.type == "tool_use"]
    return {"role": "user", "content": results}


# --- The loop, in four ways ------------------------------------------------------------------


def request(model: str) -> dict[str, Any]:
    """What every request of the agent has in common."""
    system = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]
    return {"model": model, "max_tokens": 1024, "system": system, "tools": TOOL_DEFINITIONS}


def text_of(reply: Any) -> str:
    """The text of a reply."""
    return "".join(block.text for block in reply.content if block.type == "text")


def with_create(client: Anthropic, model: str, question: str) -> str:
    """Ask, run the tools, ask again, until the model wants no tool."""
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = client.messages.create(**request(model), messages=messages)
        messages.append({"role": "assistant", "content": reply.content})
        if reply.stop_reason != "tool_use":
            return text_of(reply)
        messages.append(run_tools(reply))


def with_stream(client: Anthropic, model: str, question: str) -> str:
    """The same, but show on stderr what the model writes while it writes."""
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        with client.messages.stream(**request(model), messages=messages) as stream:
            for text in stream.text_stream:
                print(text, end="", file=sys.stderr, flush=True)
            reply = stream.get_final_message()
        print(file=sys.stderr)
        messages.append({"role": "assistant", "content": reply.content})
        if reply.stop_reason != "tool_use":
            return text_of(reply)
        messages.append(run_tools(reply))


async def with_async(client: AsyncAnthropic, model: str, question: str) -> str:
    """The same with the asynchronous client."""
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = await client.messages.create(**request(model), messages=messages)
        messages.append({"role": "assistant", "content": reply.content})
        if reply.stop_reason != "tool_use":
            return text_of(reply)
        messages.append(run_tools(reply))


def with_tool_runner(client: Anthropic, model: str, question: str) -> str:
    """Leave the loop to the SDK, which reads name, text and schema of a tool off the function."""
    from anthropic import beta_tool

    runner = client.beta.messages.tool_runner(
        **{**request(model), "tools": [beta_tool(tool) for tool in TOOLS.values()]},
        messages=[{"role": "user", "content": question}],
    )
    return text_of(runner.until_done())


def answer(how: str, connection: dict[str, str], model: str, question: str) -> str:
    """Let one of the four loops answer a question."""
    if how == "async":

        async def ask() -> str:
            async with AsyncAnthropic(**connection) as client:
                return await with_async(client, model, question)

        return asyncio.run(ask())
    loops = {"create": with_create, "stream": with_stream, "tool_runner": with_tool_runner}
    with Anthropic(**connection) as client:
        return loops[how](client, model, question)


# --- Offline: no account, no network ---------------------------------------------------------


@contextmanager
def offline_provider(steps: int) -> Iterator[dict[str, str]]:
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
    parser.add_argument("--how", choices=["create", "stream", "async", "tool_runner"], default="create")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--model", default="claude-sonnet-5-5")
    parser.add_argument("--steps", type=int, default=4, help="offline: how many replies ask for tools")
    options = parser.parse_args(arguments)

    settings = os.environ
    if settings.get("ANTHROPIC_BASE_URL") or settings.get("ANTHROPIC_API_KEY"):
        print(answer(options.how, {}, options.model, options.question))
        return
    with offline_provider(options.steps) as connection:
        print(answer(options.how, connection, options.model, options.question))


if __name__ == "__main__":
    main()
