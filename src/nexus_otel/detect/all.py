"""Every detector there is."""

from __future__ import annotations

from nexus_otel.detect.baselines import Baselines
from nexus_otel.detect.context import ContextOverflow
from nexus_otel.detect.hallucinated import HallucinatedAction
from nexus_otel.detect.latency import LatencySpike
from nexus_otel.detect.loop import Loop
from nexus_otel.detect.model import Detector
from nexus_otel.detect.models import Limits
from nexus_otel.detect.retry import Retry
from nexus_otel.detect.thresholds import Thresholds
from nexus_otel.detect.tool_error import ToolError


def detectors(
    thresholds: Thresholds | None = None, limits: Limits | None = None, baselines: Baselines | None = None
) -> list[Detector]:
    """Return one of each detector, in the order in which they are asked: a loop before the retries it is made of.

    Args:
        thresholds: The defaults if not given.
        limits: What models take; the table if not given.
        baselines: How long steps usually take; nothing is known if not given.
    """
    given = thresholds or Thresholds()
    return [
        HallucinatedAction(given),
        ContextOverflow(given, limits),
        Loop(given),
        Retry(given),
        ToolError(given),
        LatencySpike(given, baselines),
    ]
