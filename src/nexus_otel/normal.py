"""Normalised values, hashes and error forms: what makes two calls or two answers the same.

The rules are those of the failure definitions (N(a), N(r), tool errors); standard library only, every text rule is
linear on a bounded prefix.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from nexus_otel._guard import quietly

PREFIX_CHARACTERS: Final = 2_000
"""How much of a long value is normalised; the rest counts by its length and raw hash."""
REST_CHARACTERS: Final = 1_000_000
"""How much of the rest is hashed."""

_VOLATILE_KEY = re.compile(
    r"(?:^|[_-])(?:request|req|trace|span|correlation|idempotency|session_?request)[_-]?id$|^nonce$|nonce$"
    r"|^timestamp$|_timestamp$|^ts$|^elapsed|_elapsed|^requestid$|^traceid$|^correlationid$",
    re.IGNORECASE,
)
_VOLATILE_TEXT = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b[0-9a-f]{24,}\b"
    r"|\b\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:z|[+-]\d\d:?\d\d)?\b"
    r"|\b1\d{9}(?:\d{3})?(?:\.\d+)?\b"
)
_DIGITS = re.compile(r"[0-9]")
_SPACE = re.compile(r"\s+")


def normalise(value: Any) -> str:
    """Return the canonical text of a tool's arguments or answer.

    JSON is parsed (twice if a string holds JSON), keys are sorted, keys that look like request or trace ids, nonces
    and times are dropped, UUIDs, long hex, ISO times and epoch numbers inside strings are masked, space and case
    are folded.
    """
    return _CANONICAL.encode(_Normal().of(_parsed(value), 0))


def _parsed(value: Any) -> Any:
    for _ in range(2):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            break
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            break
    return value


_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_READABLE: Final = json.JSONEncoder(ensure_ascii=False)
_MAX_DEPTH: Final = 32
_MAX_VALUES: Final = 10_000


class _Normal:
    """One normalisation; bounded in depth and in values, for a value may hold itself, more than once."""

    def __init__(self) -> None:
        self._left = _MAX_VALUES

    def of(self, value: Any, depth: int) -> Any:
        """Return `value` without what does not matter."""
        self._left -= 1
        if isinstance(value, str):
            return _normal_text(value)
        if isinstance(value, bool) or value is None or isinstance(value, int):
            return value
        if isinstance(value, float):
            return int(value) if value.is_integer() else value
        if depth > _MAX_DEPTH or self._left < 0:
            return "..."
        if isinstance(value, Mapping):
            kept = ((str(key), item) for key, item in itertools.islice(value.items(), _MAX_VALUES))
            return {key: self.of(item, depth + 1) for key, item in kept if not _VOLATILE_KEY.search(key)}
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return [self.of(item, depth + 1) for item in itertools.islice(value, _MAX_VALUES)]
        return type(value).__name__


def _normal_text(text: str) -> str:
    text = _SPACE.sub(" ", text.strip()).casefold()
    return _VOLATILE_TEXT.sub("#", text) if _DIGITS.search(text) else text


class Hasher:
    """Keyed 64-bit hashes of normalised values, as 16 hex digits (BLAKE2b)."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = (key or secrets.token_bytes(16))[:64]

    def text(self, *parts: str) -> str:
        """Return the hash of texts, each apart from its neighbours."""
        digest = blake2b(digest_size=8, key=self._key)
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little"))
            digest.update(raw)
        return digest.hexdigest()

    def arguments(self, tool: str, value: Any) -> str:
        """Return `nexus.tool.call.arguments.hash` of a call: of the tool's name and N(arguments)."""
        return self._of(tool, value)

    def result(self, tool: str, value: Any) -> str:
        """Return `nexus.tool.call.result.hash` of an answer: of the tool's name and N(answer)."""
        return self._of(tool, value)

    def _of(self, tool: str, value: Any) -> str:
        if not isinstance(value, str):
            value = normalise(value)
            if len(value) <= PREFIX_CHARACTERS:
                return self.text(tool, value)
            head, rest = value[:PREFIX_CHARACTERS], value[PREFIX_CHARACTERS:]
            return self.text(tool, head, str(len(value)), rest[:REST_CHARACTERS])
        if len(value) <= PREFIX_CHARACTERS:
            return self.text(tool, normalise(value))
        head, rest = value[:PREFIX_CHARACTERS], value[PREFIX_CHARACTERS:]
        return self.text(tool, _normal_text(head), str(len(value)), rest[:REST_CHARACTERS])


# -- errors handed back as values --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolFailure:
    """Why an answer counts as a failure.

    Attributes:
        how: `status` (an exception or error flag), `field` (of a JSON object) or `text` (its start).
        matched: The field or the piece of text that says so.
    """

    how: str
    matched: str


_ERROR_START = re.compile(
    r"\W{0,8}(?:<(?:tool_use_)?error>|\[error\]|"
    r"(?:an? |the )?(?:unexpected |internal |unhandled |fatal |runtime |tool |execution )?"
    r"(?:error|exception|traceback|failed|failure|fatal|fehler|erreur|ошибка|错误|エラー)\b(?!s?[- ]free)(?:[:!. ]|$)"
    r"|(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Declined|Timeout|Warning|NotFound|Denied|Exceeded)\b\s*[:(]"
    r"|(?:HTTP(?:/\d(?:\.\d)?)?|status(?: code)?)[ :]*[45]\d\d\b"
    r"|[45]\d\d (?:bad request|unauthorized|forbidden|not found|too many|internal|bad gateway|service|gateway)"
    r"|(?:exit(?:ed)?(?: with)?(?: code| status)|return(?:ed)? code)[ :]*-?[1-9]"
    r"|permission denied|access denied|timed? ?out|connection (?:refused|reset)|no such (?:file|tool)"
    r"|unknown tool|could not |cannot |unable to |invalid (?:argument|input|parameter))",
    re.IGNORECASE,
)
_NOT_AN_ERROR = re.compile(r"\W{0,8}(?:no|0|zero|without) (?:error|exception|failure)s?\b", re.IGNORECASE)
_ERROR_NAME = re.compile(
    r"\W{0,4}((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exceeded|Declined|Denied|Timeout|NotFound|Warning|Interrupt)"
    r"|[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+)\s*[:(]"
)
_STATUS_FAILED = frozenset({"error", "failed", "failure"})
_EMPTY = (None, "", False, 0)

_forms: dict[str, list[Callable[[Any], bool]]] = {}


def register_error_form(tool: str, form: Callable[[Any], bool]) -> None:
    """Tell how the answers of `tool` say that they failed.

    Args:
        tool: The tool's name, or `*` for every tool.
        form: Given the answer, returns whether it is a failure.
    """
    _forms.setdefault(tool, []).append(form)


def tool_failure(tool: str, answer: Any) -> ToolFailure | None:
    """Return why the answer of a tool is a failure given back as a value, or None.

    A JSON object fails by `isError`/`is_error`, a non-empty `error`/`errors`/`exception`, `success`/`ok` false, a
    `status` of error, failed or failure, or a numeric status of 400 to 599; a text fails only by how it starts.
    """
    for form in (*_forms.get(tool, ()), *_forms.get("*", ())):
        if quietly(form, answer):
            return ToolFailure("field", "registered form")
    value = _parsed(answer[:PREFIX_CHARACTERS] if isinstance(answer, str) else answer)
    if isinstance(value, Mapping):
        return _failed_fields(value)
    if isinstance(value, str):
        start = value[:200]
        if (found := _ERROR_START.match(start)) and not _NOT_AN_ERROR.match(start):
            return ToolFailure("text", found.group(0).strip()[:60])
    return None


def _failed_fields(value: Mapping[Any, Any]) -> ToolFailure | None:
    for key in ("isError", "is_error"):
        if value.get(key) is True:
            return ToolFailure("field", key)
    for key in ("error", "errors", "exception"):
        if key in value and value[key] not in _EMPTY and value[key] != [] and value[key] != {}:
            return ToolFailure("field", key)
    for key in ("success", "ok"):
        if value.get(key) is False:
            return ToolFailure("field", key)
    status = value.get("status", value.get("status_code"))
    if isinstance(status, str) and status.lower() in _STATUS_FAILED:
        return ToolFailure("field", "status")
    if isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599:  # noqa: PLR2004 - HTTP
        return ToolFailure("field", "status")
    return None


def error_name(text: str) -> str | None:
    """Return the exception name that a failure's text starts with, such as `ValueError`."""
    found = _ERROR_NAME.match(text[:200])
    return found.group(1) if found else None


_FOLD: Final = re.IGNORECASE
_CLASSES: Final = (
    ("rate_limit", re.compile(r"rate.?limit|too many requests|\b429\b|quota", re.IGNORECASE)),
    ("timeout", re.compile(r"time.?d?.?out|deadline exceeded|\b504\b", re.IGNORECASE)),
    ("auth", re.compile(r"unauthori[sz]ed|forbidden|permission|access denied|api key|credential|\b40[13]\b", _FOLD)),
    ("not_found", re.compile(r"not found|no such|does ?n.t exist|unknown tool|\b404\b|no \w+ with", re.IGNORECASE)),
    ("bad_arguments", re.compile(
        r"argument|parameter|validation|invalid|missing|required|must be|typeerror|valueerror|schema|\b400\b|\b422\b",
        re.IGNORECASE)),
    ("server", re.compile(r"internal|unavailable|overloaded|bad gateway|connection|\b5\d\d\b", re.IGNORECASE)),
)  # fmt: skip


def error_class(text: str) -> str:
    """Return the class of an error text: rate_limit, timeout, auth, not_found, bad_arguments, server or other."""
    head = text[:500]
    return next((name for name, pattern in _CLASSES if pattern.search(head)), "other")


_MASK = re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\"|\b\d+(?:\.\d+)?\b|0x[0-9a-f]+", re.IGNORECASE)


def masked_error(text: str) -> str:
    """Return an error text without its quoted values and numbers, so that equal errors are equal."""
    return _normal_text(_MASK.sub("#", text[:500]))


_PENDING = re.compile(
    r"\b(?:pending|running|queued|in[ _-]?progress|processing|not (?:yet )?(?:ready|done|finished)|still|waiting"
    r"|\d{1,2} ?% (?:done|complete))",
    re.IGNORECASE,
)
_TERMINAL = re.compile(r"\b(?:failed|cancell?ed|aborted|not found|expired|finished|completed?|done|succeeded)\b", _FOLD)
_SMALL = 400


def answer_form(answer: Any) -> str:
    """Return how an answer reads to a poller: `empty`, `pending`, `terminal` or `other`."""
    value = _parsed(answer)
    if isinstance(value, Mapping):
        value = value.get("status", value.get("state", value)) if value else None
    if value is None or value in ("", [], {}):
        return "empty"
    text = value if isinstance(value, str) else _READABLE.encode(_Normal().of(value, 0))
    if len(text) > _SMALL:
        return "other"
    if not text.strip():
        return "empty"
    if _PENDING.search(text):
        return "pending"
    return "terminal" if _TERMINAL.search(text) else "other"


# -- context overflow --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overflow:
    """A provider's refusal because the prompt is too long.

    Attributes:
        tokens: What the request had, where the text tells.
        limit: What the model takes, where the text tells.
    """

    tokens: int | None
    limit: int | None


_OVERFLOW_TEXT = re.compile(
    r"maximum context length|prompt is too long|exceeds? the maximum number of tokens"
    r"|exceeds? (?:the )?context (?:limit|window)|exceeds? the available context size|inputs?.{0,20}max_new_tokens"
    r"|input is too long|context window|context_length_exceeded",
    re.IGNORECASE,
)
_TOKENS_OVER = re.compile(r"(\d[\d,]*) tokens? ?> ?(\d[\d,]*)")
_LIMIT = re.compile(r"(?:maximum|limit|context (?:length|window|size))\D{0,30}?(\d[\d,]{2,})", re.IGNORECASE)
_USED = re.compile(r"(?:resulted in|requested|have|has|got|contains?)\D{0,20}?(\d[\d,]{2,})", re.IGNORECASE)


def context_overflow(text: str, code: str | None = None) -> Overflow | None:
    """Return the overflow that a provider's error describes, with the two numbers where it gives them."""
    head = text[:1000]
    if code != "context_length_exceeded" and not _OVERFLOW_TEXT.search(head):
        return None
    if both := _TOKENS_OVER.search(head):
        return Overflow(_int(both.group(1)), _int(both.group(2)))
    limit, used = _LIMIT.search(head), _USED.search(head)
    return Overflow(_int(used.group(1)) if used else None, _int(limit.group(1)) if limit else None)


def _int(text: str) -> int:
    return int(text.replace(",", ""))
