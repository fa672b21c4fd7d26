"""LangSmith's OpenTelemetry export: silent on a provider of ours, where it would record each call a second time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nexus_otel.genai.own import own


def silent_on_ours(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that makes LangSmith's spans so that it makes none while the provider is ours.

    It takes the global provider and adds no exporter to one that is there (langsmith 0.15): with ours, its spans would
    stand beside ours and reach nobody else. What LangSmith sends by itself (`hybrid`) is sent as before.
    """

    def export_batch(self: Any, *args: Any, **kwargs: Any) -> Any:
        return None if own.traces else original(self, *args, **kwargs)

    return functools.update_wrapper(export_batch, original)
