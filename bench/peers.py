"""How each instrumentation is switched on and off; every one in an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

PEERS = {
    "nexus": "nexus_otel.instrumentors.anthropic",
    "official": "opentelemetry.instrumentation.genai.anthropic",
    "openinference": "openinference.instrumentation.anthropic",
    "openllmetry": "opentelemetry.instrumentation.anthropic",
}


SDKS = {"anthropic": "workloads", "openai": "workloads_openai"}
"""What is measured, by the SDK that it is on."""


def instrument(peer: str, provider: Any, sdk: str = "anthropic") -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what switches the instrumentation on and off."""
    kind = {"anthropic": "AnthropicInstrumentor", "openai": "OpenAIInstrumentor"}[sdk]
    made = getattr(importlib.import_module(PEERS[peer].replace("anthropic", sdk)), kind)()

    def on() -> None:
        made.instrument(tracer_provider=provider, skip_dep_check=True)

    return on, made.uninstrument
