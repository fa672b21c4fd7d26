"""The entry point by which `opentelemetry-instrument` finds us."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from nexus_otel.bootstrap.activate import activate, deactivate


class NexusInstrumentor:
    """All our instrumentors as one, in the ecosystem's own style."""

    def instrument(self, **_options: Any) -> None:
        """Activate; never raises, for an exception would end the loading of all other instrumentations."""
        activate("otel")

    def uninstrument(self, **_options: Any) -> None:
        """Take everything off again."""
        deactivate()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: each library is waited for on its own."""
        return ()
