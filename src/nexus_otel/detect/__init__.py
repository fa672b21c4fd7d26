"""The failure modes of agents, found in spans: pure, streaming, bounded; the same live, offline, over others' traces.

An island: the standard library, jsonschema, `normal`, `schema` and `semconv` only.
"""

from nexus_otel.detect.examining import examine
from nexus_otel.detect.model import Finding, SpanView
from nexus_otel.detect.thresholds import Thresholds

__all__ = ["Finding", "SpanView", "Thresholds", "examine"]
