"""`nexus-otel flush`: send what could not be sent when it was recorded."""

from __future__ import annotations

from nexus_otel import config
from nexus_otel.cli.store import say
from nexus_otel.cli.terminal import count


def flush(timeout_s: float) -> bool:
    """Send what is undelivered, to the destinations of this environment.

    Args:
        timeout_s: How long to try, in seconds.

    Returns:
        Whether nothing is left.
    """
    from nexus_otel.export.sender import flush_store

    report = flush_store(config.home(), timeout_s)
    print(f"sent {count(report.sent, 'request')}")
    if report.left:
        say(f"{count(report.left, 'request')} left: not accepted within {timeout_s:g} s; try again")
    if report.foreign:
        say(
            f"{count(report.foreign, 'request')} left for other destinations than this environment's: "
            "set OTEL_EXPORTER_OTLP_ENDPOINT (and _HEADERS) as they were when they were recorded"
        )
    return not (report.left or report.foreign)
