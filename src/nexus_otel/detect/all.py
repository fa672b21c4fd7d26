"""Every detector there is, and the offline way of asking them."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_otel.detect.detection import Detection
from nexus_otel.detect.model import Detector, Finding, SpanView


def detectors() -> list[Detector]:
    """Return one of each detector, in the order in which they are asked."""
    return []


def examine(spans: Iterable[SpanView]) -> list[Finding]:
    """Return what is found in the spans of whole traces."""
    detection = Detection(detectors())
    found: dict[object, Finding] = {}
    for span in sorted(spans, key=lambda span: span.start_ns):
        detection.begins(span)
    for span in sorted(spans, key=lambda span: span.end_ns):
        for finding in detection.ends(span):
            found[finding.trace_id, finding.mode, finding.key] = finding
    return list(found.values())
