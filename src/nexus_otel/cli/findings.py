"""What the detectors find in stored spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from nexus_otel import config, semconv
from nexus_otel.cli.runs import Run
from nexus_otel.cli.store import say
from nexus_otel.detect import Baselines, examine
from nexus_otel.detect.model import INFO, LEVELS, LOOP, MODES, Finding, SpanView
from nexus_otel.detect.thresholds import changed
from nexus_otel.export.died import PROCESS_ENDED
from nexus_otel.export.read import StoredSpan
from nexus_otel.genai.operations import Usage
from nexus_otel.genai.prices import price_of
from nexus_otel.processors import detecting

ERROR: Final = 2


def views(spans: Iterable[StoredSpan]) -> list[SpanView]:
    """Return stored spans as the detectors see them.

    One that is open ends where its run was last seen; one that its process left open has not failed by that.
    """
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
            attributes=span.attributes if not _is_left(span) else _without_error(span.attributes),
            failed=span.status == ERROR and not _is_left(span),
            message=span.status_message,
            events=[(event.name, event.time_ns, event.attributes) for event in span.events],
            resource=span.resource,
        )
        for span in every
    ]


def _is_left(span: StoredSpan) -> bool:
    return span.died or span.attributes.get(semconv.ERROR_TYPE) == PROCESS_ENDED


def _without_error(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != semconv.ERROR_TYPE}


def findings_of(run: Run) -> list[Finding]:
    """Return what is found in a run: the telling ones first, of a kind in the order of time."""
    found = examine(views(run.spans), **_given(config.current(), config.home()))
    for finding in found:
        _add_cost(finding)
    return ordered(found)


def _add_cost(finding: Finding) -> None:
    """Add what a loop cost since its second call, where the price is known."""
    data = finding.data
    tokens, output, model = data.get("tokens"), data.get("output_tokens"), data.get("model")
    if finding.mode != LOOP or not isinstance(tokens, int) or not isinstance(output, int) or not model:
        return
    calls = max(1, finding.count - 2)  # a long prompt has another price than many short ones
    usage = Usage(input_tokens=(tokens - output) // calls, output_tokens=output // calls)
    cost = price_of(str(data.get("provider") or "") or None, str(model), usage)
    if cost is not None:
        data["cost_usd"] = round(cost * calls, 6)


def cost_of(run: Run) -> float | None:
    """Return what the model calls of a run cost in US dollars; None where the price of one is not known."""
    costs = [_price(span.attributes) for span in run.steps]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _price(attributes: Mapping[str, Any]) -> float | None:
    def number(name: str) -> int | None:
        value = attributes.get(name)
        return value if type(value) is int else None

    usage = Usage(
        input_tokens=number(semconv.USAGE_INPUT),
        output_tokens=number(semconv.USAGE_OUTPUT),
        cache_read_tokens=number(semconv.USAGE_CACHE_READ),
        cache_write_tokens=number(semconv.USAGE_CACHE_WRITE),
    )
    model = attributes.get(semconv.RESPONSE_MODEL) or attributes.get(semconv.REQUEST_MODEL)
    provider = attributes.get(semconv.PROVIDER)
    return price_of(str(provider) if provider else None, str(model) if model else None, usage)


def limit_of(run: Run) -> int | None:
    """Return how many tokens the context of a run's last model takes; None where that is not known."""
    limits = _given(config.current(), config.home())["limits"]
    models = [str(span.attributes.get(semconv.REQUEST_MODEL) or "") for span in run.steps]
    found: int | None = limits.of(models[-1]) if models else None
    window = run.steps[-1].attributes.get(semconv.CONTEXT_WINDOW) if models else None
    return found or (window if isinstance(window, int) else None)


@lru_cache(1)
def _given(settings: config.Settings, home: Path) -> dict[str, Any]:
    """Return what the detectors are given: as the settings say, with what earlier runs took, which is only read."""
    for line in changed(dict(settings.thresholds))[1]:
        say(f"NEXUS_THRESHOLDS: {line}")
    return {
        "thresholds": detecting.thresholds(settings),
        "limits": detecting.limits(settings),
        "baselines": Baselines(detecting.stored(home)),
    }


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, the worst first."""
    return sorted(findings, key=lambda one: (-LEVELS.index(one.level), MODES.index(one.mode)))


def by_cause(findings: Iterable[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """Return the first finding of each cause, with the others of it: a loop, the retries and errors that it is of."""
    causes: dict[Any, list[Finding]] = {}
    for finding in findings:
        causes.setdefault((finding.trace_id, finding.data.get("cause") or finding.key), []).append(finding)
    return [(first, others) for first, *others in causes.values()]


def told(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that are more than worth knowing."""
    return [one for one in findings if one.level != INFO]
