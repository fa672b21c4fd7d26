"""Tools that fail, by status, by a field of their answer or by how its text starts (`failures.md` 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from nexus_otel import normal, semconv
from nexus_otel.detect.evidence import grown, short, times
from nexus_otel.detect.facts import ToolFacts, tool_facts
from nexus_otel.detect.invented import invented
from nexus_otel.detect.model import INFO, TOOL_ERROR, WARNING, AgentView, Finding, RunView, SpanView
from nexus_otel.detect.thresholds import Thresholds

_MOST: Final = 64
_ANY_TYPE: Final = "tool_error"
"""The `error.type` of a failure that gives none of its own: it says no more than the mode does."""
_HOW: Final = {"status": "", "field": " (said in a field of its answer)", "text": " (said in the text of its answer)"}


@dataclass(slots=True)
class _Error:
    """The failures of one tool in one class."""

    finding: Finding
    evidence: list[str]
    recovered: bool = False


@dataclass(slots=True)
class _Errors:
    """The failures of a run.

    Attributes:
        by_key: By tool and class.
        root_failed: Whether the run ended with an error; None while it goes on.
    """

    by_key: dict[tuple[str, str], _Error] = field(default_factory=dict)
    root_failed: bool | None = None


class ToolError:
    """Finds failed calls, one finding for each tool and class of error.

    The first failure is level info, for most agents get over it; it is a warning when the tool fails again before it
    succeeds, or when the run ends and it has not. A made-up call that failed is `hallucinated_action` alone.
    """

    mode = TOOL_ERROR

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds

    def seen(self, span: SpanView, agent: AgentView, run: RunView) -> Iterable[Finding]:
        """Take a span that has ended."""
        facts = tool_facts(span, agent)
        if facts is None:
            if span.span_id == run.root_id:
                _errors(run).root_failed = span.failed
            return ()
        if not facts.failed:
            return _recovered(facts.tool, run) if TOOL_ERROR in run.state else ()
        why = invented(facts, span, agent)
        return _failed(facts, span, run) if why is None or why.level == INFO else ()

    def over(self, run: RunView) -> Iterable[Finding]:
        """Take the end of a run: what was not got over is a warning, silent where the run does not say so."""
        errors: _Errors | None = run.state.get(TOOL_ERROR)
        if errors is None:
            return
        for error in errors.by_key.values():
            if not error.recovered:
                data = error.finding.data
                if errors.root_failed is not None:
                    data = data | {"silent": not errors.root_failed}
                error.finding = replace(error.finding, level=WARNING, data=data)
                yield error.finding


def _errors(run: RunView) -> _Errors:
    errors: _Errors = run.state.setdefault(TOOL_ERROR, _Errors())
    return errors


def _failed(facts: ToolFacts, span: SpanView, run: RunView) -> Iterable[Finding]:
    errors, key = _errors(run).by_key, (facts.tool, facts.error_class)
    error = errors.get(key)
    if error is None:
        if len(errors) >= _MOST:
            return ()
        finding = Finding(TOOL_ERROR, INFO, "", run.trace_id, span.span_id, data=_data(facts, span), count=0, key=key)
        error = errors[key] = _Error(finding, [])
    again = error.finding.count > 0 and not error.recovered
    error.recovered = False
    count = error.finding.count + 1
    grown(error.evidence, span.span_id)
    error.finding = replace(
        error.finding,
        level=WARNING if again else error.finding.level,
        title=_title(facts, count),
        evidence=tuple(error.evidence),
        data=error.finding.data | {"recovered": False},
        count=count,
    )
    return (error.finding,)


def _recovered(tool: str, run: RunView) -> Iterable[Finding]:
    found = []
    for (name, _class), error in _errors(run).by_key.items():
        if name == tool and not error.recovered:
            error.recovered = True
            error.finding = replace(error.finding, level=INFO, data=error.finding.data | {"recovered": True})
            found.append(error.finding)
    return found


def _data(facts: ToolFacts, span: SpanView) -> dict[str, Any]:
    data: dict[str, Any] = {
        "tool": facts.tool,
        "class": facts.error_class,
        "how": facts.how,
        "cause": facts.cause,
    }
    if facts.error_type:
        data["error_type"] = facts.error_type
    if facts.how != "status" and (answer := span.attributes.get(semconv.TOOL_RESULT)) is not None:
        failure = normal.tool_failure(facts.tool, answer)
        if failure is not None:
            data["matched"] = failure.matched
    return data


def _title(facts: ToolFacts, count: int) -> str:
    kinds = [short(facts.error_type) if facts.error_type != _ANY_TYPE else "", facts.error_class.replace("other", "")]
    kind = ", ".join(filter(None, kinds))
    return f"{short(facts.tool)} failed {times(count)}{': ' if kind else ''}{kind}{_HOW.get(facts.how, '')}"
