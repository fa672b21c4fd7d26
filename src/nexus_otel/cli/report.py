"""The one-screen report of a run: what broke, where, what to do; then the checklist, and the last five steps."""

from __future__ import annotations

import itertools
import statistics
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from nexus_otel import semconv
from nexus_otel.cli.content import has_content, parsed
from nexus_otel.cli.findings import by_cause, limit_of, told, views
from nexus_otel.cli.others import VERSIONS
from nexus_otel.cli.runs import Run, has_failed, is_model_call, is_tool_call
from nexus_otel.cli.terminal import count, duration, harmless, is_unicode, number, one_line, run_duration
from nexus_otel.cli.tree import STATUS_STYLE, error_of
from nexus_otel.detect.critical import largest, steps_of

if TYPE_CHECKING:
    from rich.console import Console

    from nexus_otel.detect.model import Finding
    from nexus_otel.export.read import StoredSpan

_MOST_SPANS: Final = 3
_LONGEST_TITLE: Final = 300
_MOST_FINDINGS: Final = 3
_LAST_STEPS: Final = 5
_LABEL: Final = 18
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_LEVEL_STYLE: Final = {"error": "bold red", "warning": "yellow", "info": "dim"}
_METADATA: Final = (
    *VERSIONS,
    (semconv.ENVIRONMENT, "{}"), (semconv.USER_ID, "user={}"), (semconv.SESSION_ID, "session={}"),
)  # fmt: skip


def print_report(run: Run, name: str, findings: Sequence[Finding], to: Console, same: str = "") -> None:
    """Print what is known of how a run went.

    Args:
        run: The run.
        name: The shortest form of its id.
        findings: What was found in it, the worst first.
        to: Where to print.
        same: How often the same was found elsewhere, where that is known.
    """
    _print_head(run, name, to)
    print_findings(run, findings, to)
    to.print()
    for number_, (label, text) in enumerate(_checklist(run, findings, unicode=is_unicode(to)), 1):
        line = Text(f"{number_} {label:<{_LABEL}}", style="bold").append(Text(text, style="default"))
        line.truncate(to.width, overflow="ellipsis" if is_unicode(to) else "crop")
        to.print(line, soft_wrap=True)
    if same:
        _print_line(same, to)
    to.print()
    _print_last_steps(run, to)
    to.print()
    for part in textwrap.wrap(_checked(run), to.width):
        to.print(Text(part, style="dim"), soft_wrap=True)
    to.print(Text(f"nexus-otel show {name}: the whole run;  --content: what was said", style="dim"), soft_wrap=True)


def _print_head(run: Run, name: str, to: Console) -> None:
    attributes = {**run.root.resource, **run.root.attributes}
    about = [form.format(attributes[key]) for key, form in _METADATA if attributes.get(key)]
    tokens = (run.input_tokens or 0) + (run.output_tokens or 0)
    totals = [run_duration(run), count(len(run.steps), "step"), f"{number(tokens)} tokens"]
    head = Text.assemble(
        ("RUN ", "bold"), (name, "bold"), f"  {one_line(run.agent, 40)}  ",
        (run.status.upper(), STATUS_STYLE[run.status]), f"  {', '.join(totals)}",
    )  # fmt: skip
    head.truncate(to.width, overflow="ellipsis" if is_unicode(to) else "crop")
    to.print(head, soft_wrap=True)
    if about:
        _print_line("  ".join(one_line(text, 40) for text in dict.fromkeys(about)), to, "dim")


def print_findings(run: Run, findings: Sequence[Finding], to: Console) -> None:
    """Print the verdict: the worst findings of a run, one of each cause, where they are, and what to do."""
    steps = {span.span_id: place for place, span in enumerate(_actions(run), 1)}
    causes = by_cause(findings)
    loud = [one for one in causes if any(finding.level != "info" for finding in (one[0], *one[1]))]
    shown = (loud or causes)[:_MOST_FINDINGS]
    for finding, others in shown:
        also = list(dict.fromkeys(one.mode for one in others if one.mode != finding.mode))
        title = one_line(finding.title, _LONGEST_TITLE) + (f" (also {', '.join(also)})" if also else "")
        sign = "! " if finding.level != "info" else "- "
        head, *rest = textwrap.wrap(title, max(40, to.width - len(finding.mode) - 4)) or [""]
        to.print(Text.assemble(sign, (finding.mode.upper(), _LEVEL_STYLE[finding.level]), f"  {head}"), soft_wrap=True)
        for line in rest:
            to.print(Text(f"    {line}"), soft_wrap=True)
        spans = ", ".join(span_id[:6] for span_id in finding.evidence[:_MOST_SPANS])
        more = f" and {len(finding.evidence) - _MOST_SPANS} more" if len(finding.evidence) > _MOST_SPANS else ""
        _print_line(f"    {_where(finding, steps)}{_spent(finding)}spans {spans}{more}", to, "dim")
        if told_too := _details(finding):
            _print_line(f"    {told_too}", to, "dim")
        advice = finding.advice or f"nexus-otel show {run.trace_id[:8]} --span {finding.span_id[:6]}"
        _print_line(f"    -> {advice}", to)
    left = len(causes) - len(shown)
    if left:
        to.print(Text(f"  and {count(left, 'more finding')}: --json lists them", style="dim"))
    if not findings:
        to.print(Text("  nothing found", style="green"))


def _print_line(text: str, to: Console, style: str = "default") -> None:
    """Print a text on one line of the console, cut where it is longer."""
    line = Text(harmless(text), style=style)
    line.truncate(to.width, overflow="ellipsis" if is_unicode(to) else "crop")
    to.print(line, soft_wrap=True)


def _spent(finding: Finding) -> str:
    """Return what a loop has cost since its second call."""
    seconds, tokens, cost = (finding.data.get(name) for name in ("seconds", "tokens", "cost_usd"))
    if finding.mode != "loop" or not isinstance(seconds, int | float) or not isinstance(tokens, int):
        return ""
    return f"since the 2nd: {duration(seconds)}, {number(tokens)} tokens{f', ${cost:.4f}' if cost else ''}, "


def _details(finding: Finding) -> str:
    """Return what of a finding is worth a line besides: what came back each time, and what differed."""
    data, parts = finding.data, []
    if finding.mode == "loop" and data.get("answer"):
        parts.append(f"came back: {one_line(data['answer'], 60)}")
    if differs := data.get("differs"):
        parts.append(f"differs only in {', '.join(map(str, differs))}")
    return "  ".join(parts)


def _where(finding: Finding, steps: dict[str, int]) -> str:
    places = [steps[span_id] for span_id in finding.evidence if span_id in steps]
    if not places:
        return ""
    return f"actions {min(places)}-{max(places)} of {len(steps)}, " if len(places) > 1 else f"action {places[0]}, "


# -- the checklist -----------------------------------------------------------------------------------------------------


def _checklist(run: Run, findings: Sequence[Finding], *, unicode: bool) -> list[tuple[str, str]]:
    failing = _failing(run, findings)
    return [
        ("Failing span", _failing_span(run, failing)),
        ("Its input", _input_of(failing)),
        ("Token trend", _token_trend(run, findings, unicode=unicode)),
        ("Step timing", _timing(run)),
        ("Steps and loops", _steps(run, findings)),
    ]


def _actions(run: Run) -> list[StoredSpan]:
    """Return the model and tool calls of a run, by start."""
    found = [span for span in run.spans if is_model_call(span) or is_tool_call(span)]
    return sorted(found, key=lambda span: span.start_ns)


def _failing(run: Run, findings: Sequence[Finding]) -> StoredSpan | None:
    by_id = {span.span_id: span for span in run.spans}
    for finding in told(findings):
        for span_id in (*finding.evidence, finding.span_id):
            if span_id in by_id and by_id[span_id] is not run.root:
                return by_id[span_id]
    failed = [span for span in _actions(run) if has_failed(span)]
    return failed[0] if failed else None


def _failing_span(run: Run, failing: StoredSpan | None) -> str:
    if failing is None:
        return "none" if run.status != "error" else f"the run itself: {error_of(run.root) or 'no error recorded'}"
    actions = _actions(run)
    place = next((at for at, span in enumerate(actions, 1) if span is failing), 0)
    why = error_of(failing) or failing.attributes.get(semconv.TOOL_ERROR_CLASS) or "no error of its own"
    same = sum(1 for span in actions if has_failed(span) and span.name == failing.name)
    first = f", first of {same}" if same > 1 else ""
    return f"{failing.name} ({failing.span_id[:6]}, action {place} of {len(actions)}{first})  {one_line(why, 90)}"


def _input_of(failing: StoredSpan | None) -> str:
    if failing is None:
        return "-"
    if is_tool_call(failing):
        given = failing.attributes.get(semconv.TOOL_ARGUMENTS)
        errors = failing.attributes.get(semconv.TOOL_SCHEMA_ERRORS)
        said = one_line(given, 120) if given is not None else "not recorded"
        return f"{said}   against its schema: {', '.join(map(str, errors))}" if errors else said
    messages = failing.attributes.get(semconv.MESSAGE_COUNT)
    size = failing.attributes.get(semconv.MESSAGE_BYTES)
    return f"{number(messages)} messages, {number(size)} bytes"


def _token_trend(run: Run, findings: Sequence[Finding], *, unicode: bool) -> str:
    used = [span.attributes.get(semconv.USAGE_INPUT) for span in run.steps]
    known = [count_ for count_ in used if isinstance(count_, int)]
    if not known:
        return "no token counts"
    told_limits = [finding.data.get("limit") for finding in findings if isinstance(finding.data.get("limit"), int)]
    limit = next(iter(told_limits), None) or limit_of(run)
    share = f" of {limit:,} ({known[-1] / limit:.0%})" if limit else " (limit not known)"
    grown = [after - before for before, after in itertools.pairwise(known)]
    growth = f"   {statistics.median(grown):+,.0f} a step" if grown else ""
    return f"{known[0]:,} {_spark(known) if unicode else '..'} {known[-1]:,}{share}{growth}"


def _spark(values: Sequence[int]) -> str:
    most = 24
    chosen = values if len(values) <= most else [values[len(values) * at // most] for at in range(most)]
    low, high = min(chosen), max(chosen)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in chosen)


def _timing(run: Run) -> str:
    whole = max(run.duration_s, 1e-9)
    models = sum(_seconds(span) for span in run.steps)
    tools = sum(_seconds(span) for span in run.tool_calls if not span.attributes.get(semconv.DERIVED))
    longest = largest(steps_of(views(run.spans)), whole)[:2]
    parts = [f"model {min(1.0, models / whole):.0%}", f"tools {min(1.0, tools / whole):.0%}"]
    parts.append(f"rest {max(0.0, 1 - (models + tools) / whole):.0%}")
    shown = [f"{one['name']} ({one['span_id'][:6]}) {duration(one['seconds'])}" for one in longest]
    if shown:
        parts.append(f" most: {', '.join(shown)}")
    retries = sum(1 for span in run.spans for event in span.events if event.name == semconv.RETRY_EVENT)
    if retries:
        parts.append(f" {count(retries, 'retry') if retries == 1 else f'{retries} retries'} by the provider's SDK")
    return "  ".join(parts)


def _seconds(span: StoredSpan) -> float:
    return max(0, (span.end_ns or span.start_ns) - span.start_ns) / 1e9


def _steps(run: Run, findings: Sequence[Finding]) -> str:
    calls = Counter(str(span.attributes.get(semconv.TOOL_NAME, span.name)) for span in run.tool_calls)
    hashes = [span.attributes.get(semconv.ARGUMENTS_HASH) for span in run.tool_calls]
    known = [one for one in hashes if one is not None]
    most = ", ".join(f"{tool} x{times}" for tool, times in calls.most_common(3))
    parts = [count(len(run.steps), "step"), count(len(run.tool_calls), "tool call")]
    if most:
        parts.append(most)
    if known:
        parts.append(f"{len(set(known))} of {len(known)} calls were new")
    if loop := next((one for one in findings if one.mode == "loop"), None):
        period = loop.data.get("period")
        parts.append(f"loop of period {period}" if period and period != 1 else "loop")
    return "   ".join(parts)


# -- the last steps ----------------------------------------------------------------------------------------------------


def _print_last_steps(run: Run, to: Console) -> None:
    actions = _actions(run)
    to.print(Text(f"last {min(_LAST_STEPS, len(actions))} of {count(len(actions), 'action')}", style="bold"))
    for at, span in enumerate(actions[-_LAST_STEPS:], max(0, len(actions) - _LAST_STEPS) + 1):
        style = "red" if has_failed(span) else "default"
        to.print(Text(f"  {at:>3} {span.span_id[:6]} {one_line(span.name, 40)}", style=style), soft_wrap=True)
        _print_line(f"      in   {_given(span)}", to, "dim")
        _print_line(f"      out  {_outcome(span)}", to, "dim")


def _given(span: StoredSpan) -> str:
    if is_tool_call(span):
        return one_line(span.attributes.get(semconv.TOOL_ARGUMENTS, "not recorded"), 110)
    last = _last_text(span.attributes.get(semconv.INPUT_MESSAGES))
    return one_line(last, 110) if last else f"{number(span.attributes.get(semconv.MESSAGE_COUNT))} messages"


def _outcome(span: StoredSpan) -> str:
    if error := error_of(span):
        return one_line(f"failed: {error}", 110)
    if is_tool_call(span):
        return one_line(span.attributes.get(semconv.TOOL_RESULT, "not recorded"), 110)
    said = _last_text(span.attributes.get(semconv.OUTPUT_MESSAGES))
    return one_line(said, 110) if said else ", ".join(span.attributes.get(semconv.RESPONSE_FINISH_REASONS, ())) or "-"


def _last_text(messages: Any) -> str:
    """Return what the last message says, or asks for, in words."""
    found = parsed(messages)
    last = found[-1] if isinstance(found, list) and found and isinstance(found[-1], dict) else {}
    parts = last.get("parts")
    texts = []
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "tool_call":
            texts.append(f"{part.get('name')}({one_line(part.get('arguments', ''), 60)})")
        else:
            texts.append(str(part.get("content") or part.get("response") or ""))
    return " ".join(text for text in texts if text)


def _checked(run: Run) -> str:
    """Return what was looked for, and what could not be."""
    missing = []
    if not any(has_content(span) for span in run.spans):
        missing.append("no content was recorded: arguments and answers are compared by their hashes")
    tools = run.tool_calls
    if tools and not any(semconv.TOOL_KNOWN in span.attributes for span in tools):
        missing.append("which tools were offered is not known: invented names cannot be told")
    if run.steps and limit_of(run) is None:
        missing.append("how much the model's context takes is not known: set NEXUS_CONTEXT_LIMITS")
    said = "checked: tool errors, retries, loops, invented tools and arguments, context, latency"
    return f"{said}; {'; '.join(missing)}" if missing else said
