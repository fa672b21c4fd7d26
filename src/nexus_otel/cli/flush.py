"""`nexus-otel flush`: send what could not be sent when it was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nexus_otel import config
from nexus_otel._guard import quietly
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

    home = config.home()
    report = flush_store(home, timeout_s)
    print(f"sent {count(report.sent, 'request')}")
    for refusal in report.refusals:
        say(refusal)
    if report.left:
        say(f"{count(report.left, 'request')} not accepted within {timeout_s:g} s are kept; try again")
    if report.foreign:
        addresses = sorted(set(_elsewhere(home)))
        if any("://" not in one for one in addresses):
            say("what is kept for an exporter made durable is exported by the next process that makes it so")
        say(
            f"{count(report.foreign, 'request')} for {', '.join(addresses) or 'another destination'} are kept: "
            "set OTEL_EXPORTER_OTLP_ENDPOINT, and the names in OTEL_EXPORTER_OTLP_HEADERS, as they were then"
        )
    return not (report.left or report.foreign)


def _elsewhere(home: Path) -> Iterator[str]:
    """Yield the addresses in the store that are no destination of this environment."""
    from nexus_otel.export.destinations import destinations
    from nexus_otel.export.places import store_folders
    from nexus_otel.export.segment import read_header, segments

    own = {one.target for one in destinations()}
    for path in (path for folder in store_folders(home) for path in segments(folder)):
        header = quietly(read_header, path)
        for target in header.targets if header else ():
            if target not in own:
                yield target.endpoint
