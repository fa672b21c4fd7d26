"""Every detector there is."""

from __future__ import annotations

from nexus_otel.detect.hallucinated import HallucinatedAction
from nexus_otel.detect.loop import Loop
from nexus_otel.detect.model import Detector
from nexus_otel.detect.retry import Retry
from nexus_otel.detect.thresholds import Thresholds
from nexus_otel.detect.tool_error import ToolError


def detectors(thresholds: Thresholds | None = None) -> list[Detector]:
    """Return one of each detector, in the order in which they are asked: a loop before the retries it is made of."""
    limits = thresholds or Thresholds()
    return [HallucinatedAction(limits), Loop(limits), Retry(limits), ToolError(limits)]
