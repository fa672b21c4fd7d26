"""Findings of one cause: which of them stand, and which another one tells as well."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_otel.detect.model import LOOP, RETRY, Finding


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without the retries that are calls of a loop (`contract.md` section 5)."""
    kept = list(findings)
    loops = [finding for finding in kept if finding.mode == LOOP]
    return [finding for finding in kept if finding.mode != RETRY or not any(_tells(loop, finding) for loop in loops)]


def _tells(loop: Finding, retry: Finding) -> bool:
    """Whether a loop is of the calls of a retry."""
    return loop.trace_id == retry.trace_id and not set(retry.evidence).isdisjoint(loop.evidence)
