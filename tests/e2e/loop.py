"""A small agent, for the programs of these tests to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic

TOOLS: list[Any] = [
    {
        "name": "look",
        "description": "Look something up.",
        "input_schema": {"type": "object", "properties": {"key": {"type": "string"}}},
    }
]


def client(**options: Any) -> anthropic.Anthropic:
    """A client for the model of the environment; it does not retry unless told."""
    return anthropic.Anthropic(**{"max_retries": 0, **options})


def request(messages: list[Any], **more: Any) -> dict[str, Any]:
    """The arguments of a model call."""
    return {"model": "m", "max_tokens": 64, "tools": TOOLS, "messages": messages, **more}


def answer(reply: Any, messages: list[Any], tool: Callable[[Any], str]) -> bool:
    """Run the tools that a reply asks for; whether there were any."""
    messages.append({"role": "assistant", "content": reply.content})
    uses = [block for block in reply.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": tool(use.input)} for use in uses]
    messages.append({"role": "user", "content": results})
    return bool(uses)


def ask(question: str = "Where is it?", to: Any = None, tool: Callable[[Any], str] = str, **more: Any) -> str:
    """Ask until the model answers."""
    model = to if to is not None else client()
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = model.messages.create(**request(messages, **more))
        if not answer(reply, messages, tool):
            return str(reply.content[0].text)


async def ask_async(question: str, to: Any, tool: Callable[[Any], str] = str, **more: Any) -> str:
    """The same with an asynchronous client."""
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        reply = await to.messages.create(**request(messages, **more))
        if not answer(reply, messages, tool):
            return str(reply.content[0].text)
