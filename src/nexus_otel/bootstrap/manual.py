"""The manual API, wired to this process: a provider when it is first used, its flush, its name."""

from __future__ import annotations

from nexus_otel.bootstrap import activate, leaving
from nexus_otel.client.context import context
from nexus_otel.client.decorators import agent, step, tool
from nexus_otel.client.limits import limits
from nexus_otel.client.nexus import NexusClient, ways
from nexus_otel.client.recording import recording
from nexus_otel.client.spans import Span, Trace
from nexus_otel.engine.run import name_agent

recording.prepare = activate.provide
ways.flush = leaving.flush
ways.named = name_agent

__all__ = ["NexusClient", "Span", "Trace", "agent", "context", "limits", "step", "tool"]
