"""Which runs `traces` lists: by how they ended, when, and by what their spans say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.cli.runs import AmbiguousError, Run

NAMED: Final = {
    "agent": (semconv.AGENT_NAME, semconv.WORKFLOW_NAME),
    "model": (semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL),
    "tool": (semconv.TOOL_NAME,),
    "error": (semconv.ERROR_TYPE, semconv.TOOL_ERROR_CLASS),
    "user": (semconv.USER_ID,),
    "session": (semconv.SESSION_ID, semconv.CONVERSATION_ID),
    "env": (semconv.ENVIRONMENT,),
    "version": (semconv.AGENT_VERSION, semconv.SERVICE_VERSION),
    "git": (semconv.REVISION,),
}
"""The attributes of a span or its resource that an option looks at, one of which must have its value."""

_LONG_BYTES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a run must be; everything that is given must be true of it, of different spans or of one.

    Attributes:
        status: ok, error or open.
        since: When it began at the earliest, as the person typed it.
        earliest_ns: The same in nanoseconds since 1970.
        named: Pairs of an option of `NAMED` and its value.
        where: Pairs of an attribute of a span or of the resource, and its value.
        hint: Attributes, and beginnings: no trace is of use in which none of them begins so. Whoever is asked may leave
            it to the caller.
    """

    status: str | None = None
    since: str | None = None
    earliest_ns: int = 0
    named: tuple[tuple[str, str], ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    hint: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def takes(self, run: Run) -> bool:
        """Whether a run is wanted."""
        if run.start_ns < self.earliest_ns or self.status not in {None, run.status}:
            return False
        return all(_is_named(run, *one) for one in self.named) and all(_has(run, *one) for one in self.where)

    @property
    def needles(self) -> list[bytes]:
        """Texts of which one stands in every run that is wanted; none where that cannot be said.

        Long values are not looked for: they stand apart from their spans (`export.texts`).
        """
        found = self.named[:1] or self.where[:1]
        if not found:
            return []
        name, text = found[0] if self.named else ("", found[0][0])
        sought = text.encode("utf-8", "replace")
        return [] if (name and _is_number(text)) or len(sought) >= _LONG_BYTES else [sought]

    def __str__(self) -> str:
        """Return the options of the command line."""
        given = [("status", self.status), ("since", self.since), *self.named]
        options = [f"--{name} {value}" for name, value in given if value]
        return " ".join([*options, *(f"--where {name}={value}" for name, value in self.where)])


def pairs(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield attribute and value of each `--where KEY=VALUE`.

    Raises:
        AmbiguousError: One of them is no such pair.
    """
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise AmbiguousError(f"--where {text!r}: expected KEY=VALUE, such as gen_ai.request.model=gpt-5")
        yield name.strip(), value


def named(**options: str | None) -> tuple[tuple[str, str], ...]:
    """Return the options that are given.

    Raises:
        AmbiguousError: One of them is empty.
    """
    for name, value in options.items():
        if value is not None and not value.strip():
            raise AmbiguousError(f"--{name}: expected a name")
    return tuple((name, value) for name, value in options.items() if value is not None)


def _is_named(run: Run, option: str, value: str) -> bool:
    if option == "agent" and run.agent == value:
        return True
    if option == "git":
        return any(_is_commit(found, value) for found in _values(run, semconv.REVISION))
    return any(_has(run, name, value) for name in NAMED[option])


def _values(run: Run, name: str) -> Iterator[Any]:
    for span in run.spans:
        yield span.attributes.get(name)
        yield span.resource.get(name)


def _is_commit(found: Any, value: str) -> bool:
    """Whether a commit is the one that a person means by its beginning."""
    return isinstance(found, str) and len(value) >= 4 and found.startswith(value)  # noqa: PLR2004 - as git has it


def _has(run: Run, name: str, value: str) -> bool:
    return any(_is(found, value) for found in _values(run, name))


def _is(found: Any, value: str) -> bool:
    """Whether an attribute, or one of its items, has a value, as a person writes it."""
    if isinstance(found, (list, tuple)):
        return any(_is(one, value) for one in found)
    if isinstance(found, bool):
        return value.lower() == str(found).lower()
    return found is not None and str(found) == value


def _is_number(text: str) -> bool:
    """Whether a value may be stored as something else than this text."""
    try:
        float(text)
    except ValueError:
        return text.lower() in {"true", "false"}
    return True
