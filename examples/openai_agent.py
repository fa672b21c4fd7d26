"""A weather agent on OpenAI's SDK: a loop written by hand, in four ways.

Without OPENAI_BASE_URL and OPENAI_API_KEY it runs offline, on a scripted provider.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

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


TOOLS: dict[str, Callable[..., str]] = {"get_weather": get_weather, "to_fahrenheit": to_fahrenheit}

FUNCTIONS: list[Any] = [
    {
        "name": "get_weather",
        "description": "Look up the current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name, in English."}},
            "required": ["city"],
        },
    },
    {
        "name": "to_fahrenheit",
        "description": "Convert a temperature from Celsius to Fahrenheit.",
        "parameters": {
            "type": "object",
            "properties": {"celsius": {"type": "number", "description": "Degrees Celsius."}},
            "required": ["celsius"],
        },
    },
]
CHAT_TOOLS: list[Any] = [{"type": "function", "function": function} for function in FUNCTIONS]
RESPONSE_TOOLS: list[Any] = [{"type": "function", **function} for function in FUNCTIONS]


def run_tool(name: str, arguments: str) -> str:
    """Run the tool a model asks for. A tool that fails tells the model why."""
    try:
        return TOOLS[name](**json.loads(arguments))
    except (KeyError, TypeError, ValueError) as error:
        return f"Error: {error}"


# --- The loop, in four ways ------------------------------------------------------------------


def opening(question: str) -> list[Any]:
    """The messages that a chat begins with."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def run_tools(message: Any) -> list[Any]:
    """The messages that answer every tool call of a message."""
    return [
        {"role": "tool", "tool_call_id": call.id, "content": run_tool(call.function.name, call.function.arguments)}
        for call in message.tool_calls
    ]


def with_chat(client: OpenAI, model: str, question: str) -> str:
    """Ask, run the tools, ask again, until the model wants no tool."""
    messages = opening(question)
    while True:
        reply = client.chat.completions.create(model=model, messages=messages, tools=CHAT_TOOLS)
        message = reply.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages += [message, *run_tools(message)]


def with_stream(client: OpenAI, model: str, question: str) -> str:
    """The same, but show on stderr what the model writes while it writes."""
    messages = opening(question)
    options: Any = {"tools": CHAT_TOOLS, "stream_options": {"include_usage": True}}
    while True:
        with client.chat.completions.stream(model=model, messages=messages, **options) as stream:
            for event in stream:
                if event.type == "content.delta":
                    print(event.delta, end="", file=sys.stderr, flush=True)
            message = stream.get_final_completion().choices[0].message
        print(file=sys.stderr)
        if not message.tool_calls:
            return message.content or ""
        messages += [message, *run_tools(message)]


async def with_async(client: AsyncOpenAI, model: str, question: str) -> str:
    """The same with the asynchronous client."""
    messages = opening(question)
    while True:
        reply = await client.chat.completions.create(model=model, messages=messages, tools=CHAT_TOOLS)
        message = reply.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages += [message, *run_tools(message)]


def with_responses(client: OpenAI, model: str, question: str) -> str:
    """Let the provider keep the conversation: send only what is new, after the response before."""
    given: Any = {"input": question}
    while True:
        reply = client.responses.create(model=model, instructions=SYSTEM, tools=RESPONSE_TOOLS, **given)
        calls = [item for item in reply.output if item.type == "function_call"]
        if not calls:
            return reply.output_text
        answers = [
            {"type": "function_call_output", "call_id": call.call_id, "output": run_tool(call.name, call.arguments)}
            for call in calls
        ]
        given = {"input": answers, "previous_response_id": reply.id}


def answer(how: str, connection: dict[str, str], model: str, question: str) -> str:
    """Let one of the four loops answer a question."""
    if how == "async":

        async def ask() -> str:
            async with AsyncOpenAI(**connection) as client:
                return await with_async(client, model, question)

        return asyncio.run(ask())
    loops = {"chat": with_chat, "stream": with_stream, "responses": with_responses}
    with OpenAI(**connection) as client:
        return loops[how](client, model, question)


# --- Offline: no account, no network ---------------------------------------------------------


@contextmanager
def offline_provider(steps: int) -> Iterator[dict[str, str]]:
    """How to connect to a provider on this machine that follows a script and ignores the question."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.fakes.provider import Provider, demo_script

    with Provider() as provider:
        provider.load(demo_script(steps))
        yield {"base_url": f"{provider.url}/v1", "api_key": "offline"}


# --- The command -----------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Print the agent's answer."""
    parser = argparse.ArgumentParser(description="Ask an agent about the weather.")
    parser.add_argument("--how", choices=["chat", "stream", "async", "responses"], default="chat")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--model", default="gpt-5.1")
    parser.add_argument("--steps", type=int, default=4, help="offline: how many replies ask for tools")
    options = parser.parse_args(arguments)

    settings = os.environ
    if settings.get("OPENAI_BASE_URL") or settings.get("OPENAI_API_KEY"):
        print(answer(options.how, {}, options.model, options.question))
        return
    with offline_provider(options.steps) as connection:
        print(answer(options.how, connection, options.model, options.question))


if __name__ == "__main__":
    main()
