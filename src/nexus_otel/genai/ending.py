"""Who looks at a span of ours just before it ends, while it can still take events and attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nexus_otel._guard import guard

Look = Callable[[Any, int | None], None]
"""Given the span, and when it ends, in nanoseconds since the epoch (None: now)."""

looks: Final[list[Look]] = []
_LOOKING: Final = guard("looking at a span before it ends")


def before_end(span: Any, end_ns: int | None = None) -> None:
    """Let everybody look at a span that is about to end."""
    for look in looks:
        with _LOOKING:
            look(span, end_ns)
