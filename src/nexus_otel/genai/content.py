"""The only way for prompts, answers, arguments and results into telemetry: capture, redaction and limits."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from nexus_otel import semconv
from nexus_otel._guard import new_lock, quietly, report
from nexus_otel.config import SettingError, Settings
from nexus_otel.genai.plain import to_json, to_plain

STORE_SPAN_BYTES: Final = 8 * 1024 * 1024
"""Most content of one span in the local store."""
_MESSAGE_BYTES: Final = 4_096
_LEAST: Final = 64
"""Fewer bytes hold nothing that is worth to be kept."""
_BLOB_KEPT: Final = 64
"""A blob no longer than its own description is kept as it is."""
_SMALL_PARTS: Final = frozenset({"text", "reasoning", "tool_call"})
_REDACTED: Final = "[redacted]"

Redact = Callable[[str], str]

_START: Final = r"(?:\b|(?<=\\[nrtbf])|(?<=\\u[0-9a-f]{4}))"
"""Where a word begins, in a text and in the JSON of one, where a line break is a backslash and a letter."""
_SECRETS: Final = {
    "sk-": _START + r"sk-[A-Za-z0-9_-]{16,}",
    "AKIA": _START + r"AKIA[0-9A-Z]{16}\b",
    "ASIA": _START + r"ASIA[0-9A-Z]{16}\b",
    "gh": _START + r"gh[pousr]_[A-Za-z0-9]{20,}",
    "github_pat_": _START + r"github_pat_[A-Za-z0-9_]{20,}",
    "xox": _START + r"xox[abprs]-[A-Za-z0-9-]{10,}",
    "eyJ": _START + r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "AIza": _START + r"AIza[0-9A-Za-z_-]{35}",
    "glpat-": _START + r"glpat-[A-Za-z0-9_-]{20,}",
    "nxs_": _START + r"nxs_[A-Za-z0-9_-]{8,}",
    "Bearer ": r"(?<=Bearer )[A-Za-z0-9_.=-]{16,}",
    "bearer ": r"(?<=bearer )[A-Za-z0-9_.=-]{16,}",
    "PRIVATE KEY": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\")|\Z)",
}
"""How a secret starts, and the whole of it."""
_ANCHORS: Final = {
    "-": (("sk-", 2), ("xox", 4), ("glpat-", 5)),
    "_": (("gh", 3), ("github_pat_", 6), ("nxs_", 3)),
    "K": (("AKIA", 1), ("PRIVATE KEY", 8)),
    "S": (("ASIA", 1),),
    "J": (("eyJ", 2),),
    "z": (("AIza", 2),),
    "B": (("Bearer ", 0),),
    "b": (("bearer ", 0),),
    ";": ((";base64,", 0),),
}
"""A character that is rare in prose, and the starts that have it, with its place in them.

One character is found 50 times faster than three (CPython searches for it by `memchr`), and a prompt is searched for
all of them at each call.
"""
_ALL_STARTS: Final = tuple(start for starts in _ANCHORS.values() for start, _ in starts)
_SHORT: Final = 1_000
_MANY: Final = 400
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,([A-Za-z0-9+/=_-]{65,})")


class Redaction:
    """Replaces keys and tokens in texts by `[redacted]`; patterns run only where their first characters occur."""

    def __init__(self, extra: Iterable[str] = (), hook: Redact | None = None) -> None:
        self._known = {start: re.compile(pattern, re.ASCII) for start, pattern in _SECRETS.items()}
        self._extra = [re.compile(pattern) for pattern in extra]
        self.hook = hook

    @classmethod
    def of(cls, settings: Settings, hook: Redact | None = None) -> Redaction:
        """Build it from the settings.

        Raises:
            SettingError: The file of `NEXUS_REDACT` cannot be read or holds no regular expression.
        """
        if settings.redact is None:
            return cls(hook=hook)
        try:
            lines = Path(settings.redact).expanduser().read_text("utf-8").splitlines()
            return cls([line for line in lines if line.strip() and not line.startswith("#")], hook)
        except (OSError, UnicodeDecodeError, re.error) as error:
            raise SettingError(
                f"NEXUS_REDACT={settings.redact!r}: expected a file with a regular expression a line ({error})"
            ) from None

    @property
    def by_text(self) -> bool:
        """Whether each text has to be looked at by itself: what the user adds may match more than a text."""
        return self.hook is not None or bool(self._extra)

    def text(self, text: str) -> str:
        """Return `text` without secrets; works on JSON text too, for no secret holds a quote."""
        for start in _starts(text):
            if start == ";base64,":
                text = _DATA_URL.sub(lambda m: f"data:{m[1]};{_described_blob(m[2])}", text)
            else:
                text = self._known[start].sub(_REDACTED, text)
        return text

    def value(self, value: Any) -> Any:
        """Return `value` with the user's hook and patterns applied to each text; where that fails, nothing of it."""
        try:
            return _mapped(to_plain(value), self._users, structure=True)
        except Exception as error:  # noqa: BLE001 - a failing hook must not let content through
            report("running the redact hook", error)
            return _REDACTED

    def _users(self, text: str) -> str:
        if self.hook is not None:
            text = str(self.hook(text))
        for pattern in self._extra:
            text = pattern.sub(_REDACTED, text)
        return text


def _starts(text: str) -> list[str]:
    """Return the starts of secrets that occur in a text."""
    if len(text) < _SHORT:
        return [start for start in _ALL_STARTS if start in text]
    found: list[str] = []
    for anchor, starts in _ANCHORS.items():
        position = text.find(anchor)
        if position < 0:
            continue
        if text.count(anchor) > _MANY:
            found += [start for start, _ in starts if start in text]
            continue
        while position >= 0:
            found += [start for start, place in starts if text.startswith(start, max(0, position - place))]
            position = text.find(anchor, position + 1)
    return list(dict.fromkeys(found))


def _mapped(value: Any, function: Redact, *, structure: bool) -> Any:
    """Return `value` with `function` applied to its texts; `structure`: but not to what makes a message a message."""
    if isinstance(value, str):
        return str(function(value))
    if isinstance(value, dict):
        return {
            key: item
            if structure and key in _STRUCTURE
            else _mapped(item, function, structure=structure and key not in _GIVEN)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_mapped(item, function, structure=structure) for item in value]
    return value


_STRUCTURE: Final = frozenset({"role", "type", "id", "name", "modality", "mime_type", "finish_reason"})
_GIVEN: Final = frozenset({"arguments", "response", "parameters"})
"""Where a message holds values of the user's, whose keys mean nothing to us."""


def _described_blob(data: str) -> str:
    return f"sha256={sha256(data.encode()).hexdigest()[:32]},bytes={len(data) * 3 // 4}"


def without_blobs(parts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return parts in which long base64 data is its size and hash."""
    return [part if part.get("type") in _SMALL_PARTS else _without_blob(part) for part in parts]


def _without_blob(part: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = part.get("type")
    if kind == "blob":
        data = part.get("content")
        if isinstance(data, str) and len(data) > _BLOB_KEPT:
            return {
                **part,
                "content": "",
                "byte_size": len(data) * 3 // 4,
                "sha256": sha256(data.encode()).hexdigest(),
            }
    elif kind == "tool_call_response" and isinstance(part.get("response"), list):
        inner = part["response"]
        if any(isinstance(item, Mapping) and item.get("type") == "blob" for item in inner):
            return {**part, "response": without_blobs(inner)}
    return part


# -- limits ------------------------------------------------------------------------------------------------------------


def fitted(value: Any, limit: int) -> str:
    """Return `value` as JSON of at most `limit` bytes: long texts are cut first, then items leave the middle."""
    plain = to_plain(value)
    for longest in (16_384, 4_096, 1_024, 256, 64):
        text = to_json(_cut(plain, longest))
        if len(text.encode()) <= limit:
            return text
    short = _cut(plain, 64)
    if isinstance(short, list):
        return _fewer(short, limit)
    return to_json({"truncated": True})


def _fewer(items: list[Any], limit: int) -> str:
    keep = len(items)
    while keep > 1:
        keep //= 2
        head, tail = items[: (keep + 1) // 2], items[len(items) - keep // 2 :]
        text = to_json([*head, *tail])
        if len(text.encode()) <= limit:
            return text
    return "[]"


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else f"{value[:longest]}... [{len(value) - longest} more characters]"
    if isinstance(value, dict):
        return {key: _cut(item, longest) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, longest) for item in value]
    return value


def cut_text(text: str, limit: int) -> str:
    """Return the beginning of `text`, at most `limit` bytes with a mark that says how long it was."""
    mark = f"... [cut, {len(text)} characters]"
    return text.encode("utf-8", "replace")[: max(0, limit - len(mark))].decode("utf-8", "ignore") + mark


_IMPORTANCE: Final = (
    semconv.TOOL_ARGUMENTS, semconv.TOOL_RESULT, semconv.OUTPUT_MESSAGES, semconv.SYSTEM_INSTRUCTIONS,
    semconv.OUTPUT, semconv.RETRIEVAL_QUERY, semconv.RETRIEVAL_DOCUMENTS, semconv.TOOL_DEFINITIONS,
    semconv.INPUT_MESSAGES,
)  # fmt: skip
_RANK: Final = {name: rank for rank, name in enumerate(_IMPORTANCE)}
_PLAIN_TEXT: Final = frozenset({semconv.TOOL_ARGUMENTS, semconv.TOOL_RESULT, semconv.RETRIEVAL_QUERY})


class Content:
    """What may be captured, and the one function that captures it."""

    def __init__(self, settings: Settings, hook: Redact | None = None) -> None:
        self.on_spans = settings.content_on_spans
        self.on_events = settings.content_on_events
        self.event = settings.details_event
        self.finish_in_messages = settings.semconv == "pkg"
        self._error_messages = settings.error_messages or self.on_spans
        self._to_store = settings.content is None
        self.is_structured = settings.structured and takes_structure()
        self._limits = (settings.max_attribute_bytes, settings.max_span_bytes)
        self._redaction = Redaction.of(settings, hook)

    @property
    def to_store(self) -> bool:
        """Whether content goes beside spans, for a local store that nobody ships."""
        return self._to_store and beside.wanted

    @property
    def wanted(self) -> bool:
        """Whether any content is captured at all."""
        return self.on_spans or self.on_events or self.to_store

    @property
    def messages_of_errors(self) -> bool:
        """Whether messages of exceptions may ride on spans."""
        return self._error_messages

    def capture(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return content as attribute values: redacted, within the limits, each JSON or a plain text.

        Args:
            values: Content attribute (of `semconv.CONTENT_ATTRIBUTES`) and its value.
        """
        each, left = (STORE_SPAN_BYTES, STORE_SPAN_BYTES) if self.to_store else self._limits
        out: dict[str, Any] = {}
        cut: list[str] = []
        for name in sorted(values, key=_RANK.__getitem__):
            text, size, shortened = self._one(name, values[name], min(each, left))
            if shortened:
                cut.append(name)
            if text is not None:
                out[name] = text
                left -= size
        if cut:
            out[semconv.TRUNCATED] = cut
        return out

    def _one(self, name: str, value: Any, limit: int) -> tuple[str | None, int, bool]:
        """Return one content attribute, its size in bytes, and whether it was shortened."""
        if self._redaction.by_text:
            value = self._redaction.value(value)
        plain_text = isinstance(value, str) and name in _PLAIN_TEXT
        text = self._redaction.text(value if plain_text else to_json(value))
        if text.isascii():
            size = len(text)
        else:
            encoded = text.encode("utf-8", "replace")
            text, size = encoded.decode(), len(encoded)
        if size <= limit:
            return text, size, False
        if limit < _LEAST:
            return None, 0, True
        short = cut_text(text, limit) if plain_text else fitted(orjson.loads(text), limit)
        return short, len(short.encode()), True

    @staticmethod
    def structured(captured: Mapping[str, Any]) -> dict[str, Any]:
        """Return captured content as objects, for log events and for SDKs that take them on spans."""
        return {name: _object(name, value) for name, value in captured.items()}

    def message(self, text: str) -> str:
        """Return the text of an error, redacted and short enough for a status."""
        clean = self._redaction.text(str(self._redaction.value(text)) if self._redaction.by_text else text)
        return clean if len(clean) <= _MESSAGE_BYTES else cut_text(clean, _MESSAGE_BYTES)


def _object(name: str, value: Any) -> Any:
    """Return a content attribute as an object: a tool's text stays one, what is JSON is parsed."""
    if not isinstance(value, str):
        return value
    if name in _PLAIN_TEXT and value[:1] not in ("{", "["):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def takes_structure() -> bool:
    """Whether the OpenTelemetry SDK takes maps and lists of maps as attributes of spans: from 1.45 on."""
    from importlib.metadata import version

    found = quietly(version, "opentelemetry-sdk") or "0"
    numbers = [int(part) for part in found.split(".")[:2] if part.isdigit()]
    return numbers >= [1, 45]


# -- beside the span ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Apart:
    """Content of one span that no exporter may see.

    Attributes:
        attributes: Further span attributes.
        exception: Further attributes of the span's `exception` event.
        status: The status description.
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    exception: dict[str, str] = field(default_factory=dict)
    status: str | None = None


class Beside:
    """Content by span id, from just before a span ends until the local store has written it; bounded.

    Attributes:
        wanted: Whether a local store is there to take it.
    """

    MAX_SPANS: Final = 1_000

    def __init__(self) -> None:
        self.wanted = False
        self._lock = new_lock()
        self._apart: OrderedDict[tuple[int, int], Apart] = OrderedDict()

    def of(self, trace_id: int, span_id: int) -> Apart:
        """Return the content kept for a span that is about to end."""
        with self._lock:
            found = self._apart.get((trace_id, span_id))
            if found is None:
                found = self._apart[trace_id, span_id] = Apart()
                if len(self._apart) > self.MAX_SPANS:
                    self._apart.popitem(last=False)
            return found

    def take(self, trace_id: int, span_id: int) -> Apart | None:
        """Return the content of a span, and forget it."""
        if not self._apart:
            return None
        with self._lock:
            return self._apart.pop((trace_id, span_id), None)


beside: Final = Beside()
