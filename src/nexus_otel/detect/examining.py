"""Findings of stored spans: the same detectors, asked in the order of time, trace by trace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from nexus_otel.detect.all import detectors
from nexus_otel.detect.baselines import Baselines
from nexus_otel.detect.derived import with_tool_calls
from nexus_otel.detect.detection import Detection
from nexus_otel.detect.merging import merged
from nexus_otel.detect.model import Detector, Finding, SpanView
from nexus_otel.detect.models import Limits
from nexus_otel.detect.thresholds import Thresholds

MOST_HELD: Final = 64 << 20
"""Characters of spans that wait for the rest of their trace; over it, traces with a root are taken as whole."""
_SPAN: Final = 500


def examine(
    spans: Iterable[SpanView],
    thresholds: Thresholds | None = None,
    broken: Callable[[str, Exception], None] | None = None,
    limits: Limits | None = None,
    baselines: Baselines | None = None,
) -> list[Finding]:
    """Return what is found in the spans of any number of traces, ours or others'.

    Spans may come in any order. Those of one trace should stand together or near to each other: memory is bounded by
    the largest trace, or by `MOST_HELD` where traces are mixed.

    Args:
        spans: With `end_ns` 0 where one has not ended.
        thresholds: The defaults if not given.
        broken: Told of an exception of a detector at a span, which is skipped.
        limits: What models take; the table if not given.
        baselines: How long steps usually take; what the spans themselves show if not given.
    """
    asked = detectors(thresholds, limits, baselines)
    return [finding for trace in _traces(spans) for finding in _examined(trace, asked, broken)]


def _examined(
    trace: list[SpanView], asked: Sequence[Detector], broken: Callable[[str, Exception], None] | None
) -> list[Finding]:
    detection = Detection(asked, broken, stored=True)
    found: dict[object, Finding] = {}
    trace_id = trace[0].trace_id
    for span, ends in _in_time(with_tool_calls(trace)):
        if ends:
            new = detection.ends(span)
        else:
            detection.begins(span)
            continue
        found.update(((finding.mode, finding.key), finding) for finding in new)
    found.update(((finding.mode, finding.key), finding) for finding in detection.over(trace_id))
    return merged(found.values())


def _in_time(trace: list[SpanView]) -> list[tuple[SpanView, bool]]:
    """Return the beginnings and ends of spans in the order of time: outer ones begin first and end last."""
    depths = _depths(trace)
    events: list[tuple[tuple[int, bool, int, int], SpanView]] = []
    for span in trace:
        depth = depths[span.span_id]
        events.append(((span.start_ns, False, depth, span.start_ns), span))
        if span.end_ns:
            events.append(((max(span.end_ns, span.start_ns), True, -depth, span.start_ns), span))
    events.sort(key=lambda event: event[0])
    return [(span, key[1]) for key, span in events]


def _depths(trace: list[SpanView]) -> dict[str, int]:
    parents = {span.span_id: span.parent_id for span in trace}
    depths: dict[str, int] = {}
    for span_id in parents:
        path: list[str] = []
        here = span_id
        while here in parents and here not in depths and len(path) < len(parents):
            path.append(here)
            here = parents[here]
        base = depths.get(here, -1)
        depths.update((one, depth) for depth, one in enumerate(reversed(path), base + 1))
    return depths


# -- bringing traces together ------------------------------------------------------------------------------------------


def _traces(spans: Iterable[SpanView]) -> Iterator[list[SpanView]]:
    held: OrderedDict[str, list[SpanView]] = OrderedDict()
    sizes: dict[str, int] = {}
    total = 0
    for span in spans:
        held.setdefault(span.trace_id, []).append(span)
        held.move_to_end(span.trace_id)
        size = _SPAN + sum(len(value) for value in span.attributes.values() if isinstance(value, str))
        sizes[span.trace_id] = sizes.get(span.trace_id, 0) + size
        total += size
        while total > MOST_HELD and (trace_id := _whole(held)):
            total -= sizes.pop(trace_id)
            yield held.pop(trace_id)
    yield from held.values()


def _whole(held: OrderedDict[str, list[SpanView]]) -> str | None:
    """Return the trace that has had its root and has not grown for longest, else the one that has not grown longest."""
    waiting = list(held)[:-1]
    return next((one for one in waiting if any(not span.parent_id for span in held[one])), None) or next(
        iter(waiting), None
    )
