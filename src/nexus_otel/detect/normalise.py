"""Spans of other instrumentations in the names of the GenAI conventions."""

from __future__ import annotations

from nexus_otel.detect.model import SpanView


def normalised(span: SpanView) -> SpanView:
    """Return a span with the names of the conventions; itself where it has them."""
    return span
