"""Libraries that make the provider of their own telemetry the global one: it stays theirs, and theirs alone.

CrewAI does so up to 1.15.0, and makes its spans with whatever tracer is global: the application's spans went to
CrewAI's collector, and CrewAI's to the application's.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace


def keep_apart(original: Any) -> Any:
    """Return what stands for `opentelemetry.trace` in a library's telemetry module; made once."""
    return original if isinstance(original, _Apart) else _Apart()


class _Apart:
    """The API's module, whose global provider is the library's own."""

    def __init__(self) -> None:
        self._provider: Any = trace.NoOpTracerProvider()

    def set_tracer_provider(self, provider: Any) -> None:
        """Take the library's provider for the library's spans."""
        self._provider = provider

    def get_tracer_provider(self) -> Any:
        """Return it."""
        return self._provider

    def get_tracer(self, *names: Any, **more: Any) -> Any:
        """Return a tracer of it."""
        return self._provider.get_tracer(*names, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(trace, name)
