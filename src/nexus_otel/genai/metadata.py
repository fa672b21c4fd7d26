"""Who, where and which version: what a person gives a run so that it is found again, on every span of it.

The standard names are those of the registry of OpenTelemetry; anything else is under `nexus.metadata.`. It travels in
the OpenTelemetry context, so that spans of frameworks and of other instrumentations have it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.context import Context, create_key

from nexus_otel import config, semconv
from nexus_otel.config import Settings
from nexus_otel.genai.content import Redaction
from nexus_otel.genai.plain import to_json

STANDARD: Final[Mapping[str, str]] = {
    "user_id": semconv.USER_ID,
    "session_id": semconv.SESSION_ID,
    "conversation_id": semconv.CONVERSATION_ID,
    "environment": semconv.ENVIRONMENT,
    "agent_version": semconv.AGENT_VERSION,
    "service_version": semconv.SERVICE_VERSION,
    "git_sha": semconv.REVISION,
}
"""Names that a person uses, and the attribute that each is."""
_SECRET: Final = re.compile(
    r"(^|[_.-])(api[_-]?key|apikey|authorization|cookie|credentials?|passw(or)?d|passphrase|private[_-]?key|secret"
    r"|access[_-]?key|bearer|(access|auth|refresh|id|session)[_-]?token|token)($|[_.-])",
    re.IGNORECASE,
)
"""Keys whose value is not recorded; counts of tokens are none (`max_tokens`, `total_tokens`)."""
_REDACTED: Final = "[redacted]"
_MOST_BYTES: Final = 4_096
_KEY: Final = create_key("nexus-otel-metadata")
_KINDS: Final = (str, bool, int, float)


class Metadata:
    """How what a person gives becomes attributes, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._redaction = Redaction.of(settings)
        self._without_free = settings.content == "NO_CONTENT"
        self.defaults = self.attributes(
            {
                "user_id": settings.user_id,
                "session_id": settings.session_id,
                "environment": settings.environment,
                "agent_version": settings.agent_version,
                "git_sha": settings.git_sha,
            }
        )
        self.allowed = settings.baggage

    def attributes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was given as attributes: standard names where there are any, secrets left out.

        Args:
            given: Names and values of any type; None is not recorded. With content switched off (`NO_CONTENT`) only
                what has a standard name is.
        """
        found: dict[str, Any] = {}
        for name, value in zip(map(str, given), given.values(), strict=True):
            attribute = STANDARD.get(name) or (name if name in _STANDARD_NAMES else None)
            if value is None or (attribute is None and self._without_free):
                continue
            if attribute is not None:
                found[attribute] = self.value(name, value) if isinstance(value, str) else str(value)
            else:
                found[semconv.METADATA + name] = self.value(name, value)
        return found

    def value(self, name: str, value: Any) -> Any:
        """Return a value as an attribute may have it, without secrets."""
        if _SECRET.search(name):
            return _REDACTED
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, _KINDS):
            return value
        if isinstance(value, Sequence) and not isinstance(value, bytes) and _is_plain(value):
            return [self._text(item) if isinstance(item, str) else item for item in value]
        return self._text(to_json(_without_secrets(value)))

    def _text(self, text: str) -> str:
        clean = self._redaction.text(text)
        return clean if len(clean) <= _MOST_BYTES else f"{clean[:_MOST_BYTES]}..."


_STANDARD_NAMES: Final = frozenset(STANDARD.values())


def _is_plain(values: Sequence[Any]) -> bool:
    return all(type(item) in _KINDS and type(item) is type(values[0]) for item in values)


def _without_secrets(value: Any, depth: int = 0) -> Any:
    if isinstance(value, Mapping) and depth < 8:  # noqa: PLR2004 - deeper than anybody nests
        return {
            key: _REDACTED if _SECRET.search(str(key)) else _without_secrets(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple) and depth < 8:  # noqa: PLR2004 - as above
        return [_without_secrets(item, depth + 1) for item in value]
    return value


_read: tuple[Settings, Metadata] | None = None


def current() -> Metadata:
    """Return how metadata is read by the settings in force."""
    global _read  # noqa: PLW0603 - one process, one reading of the settings
    settings = config.current()
    if _read is None or _read[0] is not settings:
        _read = (settings, Metadata(settings))
    return _read[1]


def added(context: Context, attributes: Mapping[str, Any]) -> Context:
    """Return `context` with further attributes for every span that begins in it; the later ones win."""
    before = context.get(_KEY)
    whole = {**before, **attributes} if isinstance(before, Mapping) else dict(attributes)
    return otel_context.set_value(_KEY, whole, context)


def stamp(span: Any, context: Context | None) -> None:
    """Set the metadata of a context on a span that begins in it."""
    here = otel_context.get_current() if context is None else context
    reading = current()
    found = here.get(_KEY)
    told = {name: value for name in reading.allowed if (value := baggage.get_baggage(name, here)) is not None}
    if reading.defaults or told or found:
        given = found if isinstance(found, Mapping) else {}
        span.set_attributes({**reading.defaults, **reading.attributes(told), **given})


def carried(context: Context, given: Mapping[str, Any]) -> Context:
    """Return `context` with what may travel to other processes as W3C baggage: the keys of `NEXUS_BAGGAGE`."""
    for name in current().allowed:
        if given.get(name) is not None:
            context = baggage.set_baggage(name, str(given[name]), context)
    return context
