"""LlamaIndex's models and agents over the scripted provider."""

from __future__ import annotations

import importlib.metadata
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the oldest version and pydantic of today
    from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
    from llama_index.llms.anthropic import Anthropic

from nexus_otel.engine.target import release

MODEL = "claude-3-haiku-20240307"
VERSION = release(importlib.metadata.version("llama-index-core"))
LIMITS = VERSION >= (0, 13)
"""Whether agents have a limit of steps, and `streaming=`."""
FINISHES = VERSION >= (0, 13)
"""Whether a streamed answer says why it ended, and what it cost."""


def llm(url: str, key: str = "", **options: Any) -> Anthropic:
    """A model of the provider at a URL."""
    return Anthropic(model=MODEL, base_url=url, api_key=key or "none", **{"max_retries": 0, **options})


def kept(model: Anthropic) -> Anthropic:
    """Return a model whose async client `closed` will close."""
    _made.append(model._aclient)
    return model


_made: list[Any] = []


async def closed() -> None:
    """Close the async clients of the models that were kept: their users never do."""
    while _made:
        await _made.pop().close()


def find(bird: str) -> str:
    """Finds a bird."""
    if bird == "dodo":
        raise ValueError("no dodo is left")
    return f"{bird}: in the cage"


async def feed(bird: str) -> str:
    """Feeds a bird."""
    return f"{bird}: fed"


def agent(model: Any, *tools: Any, kind: Any = FunctionAgent, name: str = "keeper", **options: Any) -> Any:
    """An agent that keeps birds."""
    about = "Keeps birds."
    return kind(name=name, description=about, tools=[*(tools or (find, feed))], llm=model, **options)


__all__ = [
    "FINISHES",
    "LIMITS",
    "MODEL",
    "VERSION",
    "AgentWorkflow",
    "FunctionAgent",
    "ReActAgent",
    "agent",
    "feed",
    "find",
    "kept",
    "llm",
]
