"""Every detector there is."""

from __future__ import annotations

from nexus_otel.detect.model import Detector
from nexus_otel.detect.thresholds import Thresholds


def detectors(thresholds: Thresholds | None = None) -> list[Detector]:
    """Return one of each detector, in the order in which they are asked: a loop before the errors it is made of."""
    limits = thresholds or Thresholds()
    del limits
    return []
