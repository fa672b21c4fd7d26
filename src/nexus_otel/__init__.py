"""nexus-otel: what your AI agents did, and why a run failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nexus_otel._version import __version__

if TYPE_CHECKING:
    from nexus_otel.bootstrap.manual import NexusClient, Span, Trace, agent, context, limits, on_finding, step, tool
    from nexus_otel.config import NexusError, SettingError
    from nexus_otel.engine.limits import (
        AgentGuardError,
        CostLimitExceeded,
        LoopDetected,
        StepLimitExceeded,
        TokenLimitExceeded,
    )
    from nexus_otel.export.durable import durable
    from nexus_otel.normal import register_error_form

__all__ = [
    "AgentGuardError",
    "CostLimitExceeded",
    "LoopDetected",
    "NexusClient",
    "NexusError",
    "SettingError",
    "Span",
    "StepLimitExceeded",
    "TokenLimitExceeded",
    "Trace",
    "__version__",
    "agent",
    "context",
    "durable",
    "flush",
    "instrument",
    "limits",
    "on_finding",
    "register_error_form",
    "shutdown",
    "step",
    "tool",
    "uninstrument",
]

_ELSEWHERE = {
    "NexusError": "nexus_otel.config",
    "SettingError": "nexus_otel.config",
    "durable": "nexus_otel.export.durable",
    "register_error_form": "nexus_otel.normal",
    **dict.fromkeys(
        ("NexusClient", "Span", "Trace", "agent", "context", "limits", "on_finding", "step", "tool"),
        "nexus_otel.bootstrap.manual",
    ),
    **dict.fromkeys(
        ("AgentGuardError", "CostLimitExceeded", "LoopDetected", "StepLimitExceeded", "TokenLimitExceeded"),
        "nexus_otel.engine.limits",
    ),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import nexus_otel` itself costs nothing."""
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_ELSEWHERE[name]), name)


def instrument(**options: Any) -> bool:
    """Record what the agents of this process do from now on.

    Args:
        options: Settings in place of the environment's, by the name of their field (`home`, `export`, `content`, ...),
            and `redact`: a function applied to each captured text.

    Returns:
        Whether it is active: not with `NEXUS_ENABLED=false` or `OTEL_SDK_DISABLED=true`.

    Raises:
        SettingError: An option does not exist or has none of its values.
    """
    from nexus_otel.bootstrap.activate import activate
    from nexus_otel.config import from_env

    redact = options.pop("redact", None)
    settings, _problems = from_env()
    return activate("code", settings.with_options(**options), redact=redact)


def uninstrument() -> None:
    """Take every instrumentation off again."""
    from nexus_otel.bootstrap.activate import deactivate

    deactivate()


def flush(timeout: float = 10.0) -> bool:
    """Write and send what waits, for at most `timeout` seconds; for functions that are frozen between two calls.

    Returns:
        Whether everything is delivered. With no destination there is nothing to deliver.
    """
    from nexus_otel.bootstrap import leaving

    return leaving.flush(timeout)


def shutdown(timeout: float = 10.0) -> bool:
    """End what is open, then write and send what waits, for at most `timeout` seconds.

    Returns:
        Whether everything is delivered. What begins later is recorded all the same.
    """
    from nexus_otel.bootstrap import leaving

    leaving.end_all()
    return leaving.flush(timeout)
