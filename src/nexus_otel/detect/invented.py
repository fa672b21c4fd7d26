"""Whether a tool call was made up: an unknown tool, or arguments that the tool does not take (`failures.md` 3.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.facts import ToolFacts, is_whole
from nexus_otel.detect.model import HALLUCINATED_ACTION, INFO, WARNING, AgentView, SpanView

UNKNOWN_TOOL: Final = "unknown_tool"
INVALID: Final = "invalid_arguments"
MALFORMED: Final = "malformed_arguments"
CUT: Final = "cut_arguments"
CUT_STATE: Final = f"{HALLUCINATED_ACTION}.cut"
"""Where it is kept that an agent's last model call was cut by the limit of its output."""

_HEAD: Final = 300
_NOT_THE_ARGUMENTS: Final = frozenset({"rate_limit", "timeout", "auth", "server"})
_TAKEN_ANYWAY: Final = ("type:", "unknown:")
"""Rules that many tools are lenient about: they count where the tool was not."""
_UNKNOWN: Final = re.compile(
    r"(?:unknown|no such|unregistered|unsupported) (?:tool|function)\b|no (?:tool|function) (?:named|called|with)\b"
    r"|is not a (?:valid|known|registered) (?:tool|function)\b"
    r"|\b(?:tool|function)\b.{0,80}?\b(?:not found|does(?: not|n't) exist|is not (?:available|registered))",
    re.IGNORECASE,
)
_REFUSED: Final = re.compile(
    r"unexpected keyword|missing \d+ required|missing (?:a )?required|field required|validation errors? for"
    r"|(?:invalid|bad) (?:arguments|parameters|input) (?:for|to) (?:the )?(?:tool|function)|input validation error"
    r"|(?:inputs?|fields) (?:are )?not permitted|additional properties are not allowed|is a required property",
    re.IGNORECASE,
)
_REFUSING_TYPES: Final = frozenset({"ToolInvocationError", "ToolInputParsingException", "ToolArgumentsError"})


@dataclass(frozen=True, slots=True)
class Invented:
    """Why a call counts as made up.

    Attributes:
        kind: unknown_tool, invalid_arguments, malformed_arguments or cut_arguments.
        level: info where the tool took it all the same.
        rules: Rule and path of each violation of the schema, as far as it was checked.
        by: How it is known: offered, schema, refused or text.
    """

    kind: str
    level: str = WARNING
    rules: tuple[str, ...] = ()
    by: str = "schema"


def invented(facts: ToolFacts, span: SpanView, agent: AgentView) -> Invented | None:
    """Return why an executed call counts as made up; None where it does not."""
    if not facts.failed and not facts.schema_errors:
        return None
    if facts.known is False and facts.failed and not agent.offered.partial:
        return Invented(UNKNOWN_TOOL, by="offered")
    if facts.schema_errors:
        found = _against_schema(facts, agent)
        if found is not None:
            return found
    return _refused(facts, span, agent) if facts.failed else None


def _against_schema(facts: ToolFacts, agent: AgentView) -> Invented | None:
    rules = facts.schema_errors or ()
    no_object = "type:" in rules
    blamed = facts.failed and facts.error_class not in _NOT_THE_ARGUMENTS
    if blamed and (no_object or agent.state.get(CUT_STATE)):
        return Invented(CUT if agent.state.get(CUT_STATE) else MALFORMED, rules=rules)
    strict = any(not rule.startswith(_TAKEN_ANYWAY) for rule in rules)
    if blamed and (strict or facts.error_class in {"bad_arguments", "other"}):
        return Invented(INVALID, rules=rules)
    return Invented(INVALID, INFO, rules) if strict else None


def _refused(facts: ToolFacts, span: SpanView, agent: AgentView) -> Invented | None:
    head = facts.words[:_HEAD]
    if facts.error_type == UNKNOWN_TOOL or (_UNKNOWN.search(head) and not _is_a_trace(head)):
        return Invented(UNKNOWN_TOOL, by="refused")
    if _is_broken_json(span.attributes):
        return Invented(CUT if agent.state.get(CUT_STATE) else MALFORMED, by="text")
    if facts.schema_errors == ():  # the arguments are right: what was refused is the tool's own affair
        return None
    if facts.error_type in _REFUSING_TYPES or (_REFUSED.search(head) and not _is_a_trace(head)):
        return Invented(INVALID, by="refused")
    return None


def _is_a_trace(text: str) -> bool:
    """Whether a text is what a program printed, with errors of its own."""
    return "Traceback (" in text or "exit code" in text[:60].lower()


def _is_broken_json(attributes: Mapping[str, Any]) -> bool:
    text = attributes.get(semconv.TOOL_ARGUMENTS)
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return False
    if not is_whole(attributes, semconv.TOOL_ARGUMENTS):
        return False
    try:
        json.loads(text)
    except RecursionError:
        return False
    except ValueError:
        return True
    return False


# -- calls that were never executed ------------------------------------------------------------------------------------


def certain(rules: Iterable[str], arguments: Any) -> tuple[str, ...]:
    """Return the violations that no coercion explains, of a call whose answer is not known."""
    return tuple(
        rule
        for rule in rules
        if not rule.startswith("unknown:") and not (rule.startswith("type:") and _coercible(_at(arguments, rule[5:])))
    )


def _at(arguments: Any, path: str) -> Any:
    value = arguments
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
    return value


def _coercible(value: Any) -> bool:
    """Whether a value is one that validators turn into the right type: null, "3", 3.0, JSON in a string."""
    if value is None or isinstance(value, float):
        return True
    if not isinstance(value, str):
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return value.lower() in {"true", "false", "none", ""}
    return True


# -- the tool that was meant -------------------------------------------------------------------------------------------


def nearest(name: str, known: Iterable[str], most: int) -> str | None:
    """Return the known tool that an unknown name comes nearest to: the same but for case and joints, or few edits."""
    fold = re.sub(r"[\W_]+", "", name).casefold()[:64]
    allowed = min(most, len(fold) // 3)
    best: tuple[int, str] | None = None
    for other in known:
        folded = re.sub(r"[\W_]+", "", other).casefold()[:64]
        distance = _edits(fold, folded, allowed)
        if distance <= allowed and (best is None or (distance, other) < best):
            best = distance, other
    return best[1] if best is not None else None


def _edits(left: str, right: str, most: int) -> int:
    """Return the edit distance of two names, or more than `most`."""
    if left == right:
        return 0
    if abs(len(left) - len(right)) > most:
        return most + 1
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            above, row[j] = row[j], min(above + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]
