"""nexus-otel: what your AI agents did, and why a run failed."""

from __future__ import annotations

from typing import Any

from nexus_otel._version import __version__
from nexus_otel.config import NexusError, SettingError, from_env
from nexus_otel.normal import register_error_form

__all__ = [
    "NexusError",
    "SettingError",
    "__version__",
    "flush",
    "instrument",
    "register_error_form",
    "uninstrument",
]


def instrument(**options: Any) -> bool:
    """Record what the agents of this process do from now on.

    Args:
        options: Settings in place of the environment's, by the name of their field (`home`, `export`, `content`, …),
            and `redact`: a function applied to each captured text.

    Returns:
        Whether it is active: not with `NEXUS_ENABLED=false` or `OTEL_SDK_DISABLED=true`.

    Raises:
        SettingError: An option does not exist or has none of its values.
    """
    from nexus_otel.bootstrap.activate import activate

    redact = options.pop("redact", None)
    settings, _problems = from_env()
    return activate("code", settings.with_options(**options), redact=redact)


def uninstrument() -> None:
    """Take every instrumentation off again."""
    from nexus_otel.bootstrap.activate import deactivate

    deactivate()


def flush(timeout_s: float = 10.0) -> bool:
    """Write and send what waits, for at most `timeout_s` seconds.

    Returns:
        Whether everything is delivered. With no destination there is nothing to deliver.
    """
    from nexus_otel.bootstrap import leaving

    return leaving.flush(timeout_s)
