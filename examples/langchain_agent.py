"""A weather agent on LangChain and LangGraph, in three ways: called, streamed, and awaited.

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

from langchain_anthropic import ChatAnthropic
from langchain_core.tools import ToolException, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

QUESTION = "How warm is it in Paris and Atlantis?"
WEATHER = {"Paris": "18 °C, sunny", "Oslo": "-3 °C, snow"}


@tool
def get_weather(city: str) -> str:
    """Look up the current weather of a city."""
    if city not in WEATHER:
        raise ToolException(f"No weather station in {city}.")
    return WEATHER[city]


get_weather.handle_tool_error = True


def agent(url: str | None, key: str | None, model: str) -> Any:
    """A model and its tools, until the model wants no tool."""
    place: dict[str, Any] = {} if url is None else {"base_url": url}
    if key is not None:
        place["api_key"] = key
    chat = ChatAnthropic(model=model, max_tokens=1024, **place).bind_tools([get_weather])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [chat.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([get_weather]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    built = graph.compile()
    built.name = "weather"
    return built


def ask(graph: Any, question: str, mode: str) -> str:
    """The agent's answer."""
    given = {"messages": [("user", question)]}
    config = {"configurable": {"thread_id": "example"}}
    if mode == "stream":
        state = list(graph.stream(given, config, stream_mode="values"))[-1]
    elif mode == "async":
        state = asyncio.run(graph.ainvoke(given, config))
    else:
        state = graph.invoke(given, config)
    return str(state["messages"][-1].content)


@contextmanager
def model_provider() -> Iterator[tuple[str | None, str | None, str]]:
    """Give address, key and model: those of the environment, or a scripted provider's."""
    if os.environ.get("ANTHROPIC_API_KEY"):
        yield os.environ.get("ANTHROPIC_BASE_URL"), None, os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.fakes.provider import Provider, Reply, ToolUse

    with Provider() as provider:
        cities = [ToolUse("get_weather", {"city": city}) for city in ("Paris", "Atlantis")]
        provider.load([
            Reply("I look it up.", tools=cities),
            Reply("Paris: 18 °C and sunny. There is no station in Atlantis."),
        ])  # fmt: skip
        yield provider.url, "offline", "claude-sonnet-5-5"


def main() -> None:
    """Ask the agent one question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--mode", choices=("invoke", "stream", "async"), default="invoke")
    given = parser.parse_args()
    with model_provider() as (url, key, model):
        print(ask(agent(url, key, model), given.question, given.mode))


if __name__ == "__main__":
    main()
