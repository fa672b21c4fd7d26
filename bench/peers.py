"""How each instrumentation is switched on and off; every one in an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

PEERS = {
    "nexus": "nexus_otel.instrumentors",
    "official": "opentelemetry.instrumentation.genai",
    "openinference": "openinference.instrumentation",
    "openllmetry": "opentelemetry.instrumentation",
}
"""Where the instrumentors of each are."""

SDKS = {"anthropic": "workloads", "openai": "workloads_openai"}
"""What is measured, by the SDK that it is on."""

CLASSES = {
    "anthropic": "AnthropicInstrumentor", "crewai": "CrewAIInstrumentor", "dspy": "DSPyInstrumentor",
    "langchain": "LangChainInstrumentor", "langgraph": "LangGraphInstrumentor",
    "llama_index": "LlamaIndexInstrumentor", "openai": "OpenAIInstrumentor",
}  # fmt: skip
NAMED_OTHERWISE = {
    ("openllmetry", "langchain"): ("langchain", "LangchainInstrumentor"),
    ("openllmetry", "llama_index"): ("llamaindex", "LlamaIndexInstrumentor"),
}
TOGETHER = {
    ("nexus", "crewai"): ("crewai", "openai"),
    ("nexus", "dspy"): ("dspy", "openai"),
    ("nexus", "langchain"): ("langchain", "langgraph", "openai"),
    ("nexus", "llama_index"): ("llama_index", "openai"),
    ("openinference", "crewai"): ("crewai", "openai"),
}
"""What is switched on for a framework, where it is more than its own: of ours what `nexus-instrument` would, of a
peer's what makes spans of model calls."""


def module_of(peer: str, library: str) -> str:
    """Return the module of a peer's instrumentor."""
    return f"{PEERS[peer]}.{NAMED_OTHERWISE.get((peer, library), (library,))[0]}"


def instrument(peer: str, provider: Any, library: str = "anthropic") -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what switches the instrumentation on and off."""
    made = [_instrumentor(peer, each) for each in TOGETHER.get((peer, library), (library,))]

    def on() -> None:
        for each in made:
            each.instrument(tracer_provider=provider, skip_dep_check=True)

    def off() -> None:
        for each in made:
            each.uninstrument()

    return on, off


def _instrumentor(peer: str, library: str) -> Any:
    name = NAMED_OTHERWISE.get((peer, library), (library, CLASSES[library]))[1]
    return getattr(importlib.import_module(module_of(peer, library)), name)()
