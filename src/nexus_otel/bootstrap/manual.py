"""The manual API, wired to this process: a provider when it is first used, its flush, its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nexus_otel.bootstrap import activate, leaving
from nexus_otel.client.context import context
from nexus_otel.client.decorators import agent, step, tool
from nexus_otel.client.limits import limits
from nexus_otel.client.nexus import NexusClient, ways
from nexus_otel.client.recording import recording
from nexus_otel.client.spans import Span, Trace
from nexus_otel.detect.model import Finding
from nexus_otel.engine.run import name_agent
from nexus_otel.export.hosted import ROUTE, Account, hosted
from nexus_otel.processors.live import live


def on_finding(callback: Callable[[Finding], None]) -> None:
    """Have a function called with each finding (`mode`, `level`, `title`, `trace_id`, `span_id`, ...) as it is found.

    It runs on a thread of its own: a slow or failing one holds nobody up.
    """
    live().callbacks.append(callback)


def _account(key: str, base_url: str | None) -> tuple[str, Any]:
    hosted.active = True
    return ROUTE, Account.of(key, base_url)


recording.prepare = activate.provide
ways.flush = leaving.flush
ways.named = name_agent
ways.account = _account

__all__ = ["Finding", "NexusClient", "Span", "Trace", "agent", "context", "limits", "on_finding", "step", "tool"]
