"""The critical path of a run: the steps without which it would have ended sooner (`failures.md` 3.5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.model import SpanView

STEPS: Final = semconv.MODEL_OPERATIONS | {semconv.EXECUTE_TOOL, semconv.RETRIEVAL}
"""What takes time by itself; all other spans only hold such ones."""
_LARGEST: Final = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its span, when it was, and its self time in seconds."""

    name: str
    span_id: str
    start_ns: int
    end_ns: int
    seconds: float


def steps_of(spans: Iterable[SpanView]) -> list[Step]:
    """Return the steps among the spans of a run; one that holds others takes the time that they leave."""
    every = [span for span in spans if span.operation in STEPS]
    inside: dict[str, float] = {}
    for span in every:
        inside[span.parent_id] = inside.get(span.parent_id, 0.0) + span.seconds
    return [
        Step(span.name, span.span_id, span.start_ns, span.end_ns, max(0.0, span.seconds - inside.get(span.span_id, 0)))
        for span in every
    ]


def critical_path(steps: Iterable[Step]) -> list[Step]:
    """Return the steps on the critical path, in the order of time: from the end back, always to what ended last."""
    path: list[Step] = []
    for step in sorted(steps, key=lambda step: (step.end_ns, step.start_ns), reverse=True):
        if not path or step.end_ns <= path[-1].start_ns:
            path.append(step)
    return path[::-1]


def largest(steps: Iterable[Step], whole_s: float) -> list[dict[str, Any]]:
    """Return the steps of the critical path that took most by themselves, with their share of the run."""
    path = sorted(critical_path(steps), key=lambda step: -step.seconds)[:_LARGEST]
    return [
        {
            "name": step.name,
            "span_id": step.span_id,
            "seconds": round(step.seconds, 3),
            "share": round(min(1.0, step.seconds / whole_s), 3) if whole_s > 0 else 0.0,
        }
        for step in path
    ]
