"""The providers that we made ourselves, for signals that the application set none for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(slots=True)
class Own:
    """What `bootstrap` built; None where there is nothing to build, or the application has its own.

    Attributes:
        traces: Whether the tracer provider in use is ours.
        meter_provider: Takes our metrics while the global one is the API's.
        logger_provider: Takes our log events while the global one is the API's.
    """

    traces: bool = False
    meter_provider: Any = None
    logger_provider: Any = None


own: Final = Own()


def is_real(provider: Any) -> bool:
    """Whether a provider is more than the API's stand-in, which records nothing."""
    return not type(provider).__module__.startswith(("opentelemetry.metrics", "opentelemetry._logs"))
