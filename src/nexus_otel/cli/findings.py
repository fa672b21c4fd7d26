"""What the detectors find in stored spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from nexus_otel.cli.runs import Run
from nexus_otel.detect import examine
from nexus_otel.detect.model import INFO, LEVELS, MODES, Finding, SpanView
from nexus_otel.export.read import StoredSpan

ERROR: Final = 2


def views(spans: Iterable[StoredSpan]) -> list[SpanView]:
    """Return stored spans as the detectors see them; one that is open ends where its run was last seen."""
    every = list(spans)
    last_ns = max((span.end_ns or span.start_ns for span in every), default=0)
    return [
        SpanView(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_id=span.parent_id,
            name=span.name,
            start_ns=span.start_ns,
            end_ns=last_ns if span.end_ns is None else span.end_ns,
            attributes=span.attributes,
            failed=span.status == ERROR,
            message=span.status_message,
            events=[(event.name, event.time_ns, event.attributes) for event in span.events],
            resource=span.resource,
        )
        for span in every
    ]


def findings_of(run: Run) -> list[Finding]:
    """Return what is found in a run: the telling ones first, of a kind in the order of time."""
    return ordered(examine(views(run.spans)))


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, the worst first."""
    return sorted(findings, key=lambda one: (-LEVELS.index(one.level), MODES.index(one.mode)))


def told(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that are more than worth knowing."""
    return [one for one in findings if one.level != INFO]
