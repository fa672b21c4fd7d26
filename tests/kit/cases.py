"""The cases that a test module gives: how a library is called, what its provider plays, which spans are expected."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import itertools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from opentelemetry.trace import SpanKind

from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.target import release
from tests.fakes.provider import Provider, Recorded, Step

CANARY: Final = "kanarienvogel"
"""In every input of a case: system, messages, tool arguments and answers, error texts, headers and the key."""

Invoke = Callable[[Any], Any]
"""Makes a case's call, given a client; a coroutine function for an async client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What is known not to be recorded as it should be: it fails once it is.

    Attributes:
        tests: The names of the tests that fail.
        until: The first version of the library in which they pass.
        why: What is amiss.
    """

    tests: frozenset[str]
    until: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What the versions of a library have.

    Attributes:
        since: The first version in which each case can be called, by its id; the others can be in all.
        until: The first version in which each case can be called no more.
        gaps: What is known to fail, by the case.
    """

    since: Mapping[str, str] = field(default_factory=dict)
    until: Mapping[str, str] = field(default_factory=dict)
    gaps: Mapping[str, Gap] = field(default_factory=dict)

    def there(self, case: str, version: str) -> bool:
        """Whether a version of the library has what a case calls."""
        until = self.until.get(case)
        return release(self.since.get(case, "")) <= release(version) and (
            until is None or release(version) < release(until)
        )

    def marks(self, case: str, test: str, version: str) -> list[pytest.MarkDecorator]:
        """Return how a test of a case is marked with a version of the library."""
        if not self.there(case, version):
            when = f"from {self.since.get(case, 'the first')} to {self.until.get(case, 'the last')}"
            return [pytest.mark.skip(reason=f"{case}: {when}, this is {version}")]
        gap = self.gaps.get(case)
        if gap is not None and test in gap.tests and release(version) < release(gap.until):
            return [pytest.mark.xfail(reason=gap.why, strict=True)]
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library as the kit uses it.

    Attributes:
        instrumentor: The class under test.
        client: Makes a client of the provider at a URL, with an API key and further options.
        async_client: Makes an async one.
        stream_types: The classes of its streams, which the caller must get.
        stream_errors: What a stream fails with, by the name of its ending, where another provider says it otherwise.
        usage_first: Whether a stream says at its beginning what the input cost.
        lines: Which cases its versions have, and which they are known to fail.
        noise: Pattern of the warnings that come at any time, as the collector runs, and are no part of a call.
        warns: What it warns of on its own account, now more often and now less: of its own old names, for one.
    """

    instrumentor: type[Instrumentor]
    client: Callable[..., AbstractContextManager[Any]]
    async_client: Callable[..., Any]
    stream_types: tuple[type, ...] = ()
    stream_errors: Mapping[str, str] = field(default_factory=dict)
    usage_first: bool = True
    lines: Lines = field(default_factory=Lines)
    noise: str = "(?!)"
    warns: tuple[type[Warning], ...] = ()

    @property
    def version(self) -> str:
        """The version that is installed."""
        return importlib.metadata.version(self.instrumentor.package)

    @property
    def scope(self) -> str:
        """The instrumentation scope that its spans must have."""
        return self.instrumentor.__module__


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A span that a case makes.

    Attributes:
        name: Its name.
        attributes: All its attributes; a type stands for any value of it.
        kind: Its kind.
        parent: The name of its parent; None for a root.
        error: Its `error.type`, where it failed.
        events: The names of its events.
        content: The content attributes that it has when content is asked for.
    """

    name: str
    attributes: Mapping[str, Any]
    kind: SpanKind = SpanKind.CLIENT
    parent: str | None = None
    error: str | None = None
    events: tuple[str, ...] = ()
    content: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A call, what the provider plays for it, and what should be recorded.

    Attributes:
        id: Its name in the test's.
        call: Makes the call.
        steps: What the provider plays.
        spans: The spans in the order in which they are made.
        fails: The exception of the library that the call raises.
        warns: The categories of the warnings that the library gives.
        options: Further options of the client.
        gaps: What is known not to work yet: the name of a test and the reason. It fails when it is fixed.
    """

    id: str
    call: Invoke
    steps: Sequence[Step] = ()
    spans: Sequence[Expected] = ()
    fails: type[BaseException] | None = None
    warns: tuple[type[Warning], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)

    @property
    def asynchronous(self) -> bool:
        """Whether the call is made on an async client."""
        return inspect.iscoroutinefunction(self.call)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCase:
    """A call that is answered by a stream, which the kit ends in every way it can end.

    Attributes:
        id: Its name in the test's.
        open: Makes the call; gives the stream, or the manager of one.
        manager: Whether a `with` block gives the stream.
        asynchronous: Whether the client is an async one.
        last: Whether an event is the last that matters: with it, the answer is complete.
        without: The names of the endings that there are not for it.
    """

    id: str
    open: Invoke
    manager: bool = False
    asynchronous: bool = False
    last: Callable[[Any], bool] = lambda event: event.type == "message_stop"
    without: frozenset[str] = frozenset()


def marked(library: Library, cases: Sequence[Case | StreamCase], test: str) -> list[Any]:
    """Return the cases as the parameters of a test, with what the installed version and known gaps make of them."""
    return [pytest.param(case, id=case.id, marks=_marks(library, case, test)) for case in cases]


def _marks(library: Library, case: Case | StreamCase, test: str) -> list[Any]:
    reason = getattr(case, "gaps", {}).get(test)
    gap = [pytest.mark.xfail(reason=reason, strict=True)] if reason is not None else []
    return [*library.lines.marks(case.id, test, library.version), *gap]


# -- running them ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning as its reader sees it."""

    category: type[Warning]
    text: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a call.

    Attributes:
        value: What it returned, without ids of requests.
        kind: The type of that.
        error: What it raised.
        said: What the exception says of itself, without ids of requests.
        requests: What the provider was sent.
        warned: The warnings that were given meanwhile.
    """

    value: Any
    kind: type
    error: BaseException | None
    said: Any
    requests: tuple[Any, ...]
    warned: tuple[Warned, ...]

    def differences(self, other: Ran) -> list[str]:
        """Return in what another run of the same case differs, in words."""
        found = []
        for name in ("value", "kind", "error", "said", "requests", "warned"):
            mine, others = getattr(self, name), getattr(other, name)
            if name == "error":
                mine, others = type(mine), type(others)
            if mine != others:
                found.append(_difference(mine, others, name))
        return found


def _difference(mine: Any, others: Any, where: str) -> str:
    """Return where two values first differ, and how."""
    if isinstance(mine, Mapping) and isinstance(others, Mapping):
        for key in [*mine, *others]:
            if key not in mine or key not in others or mine[key] != others[key]:
                return _difference(mine.get(key), others.get(key), f"{where}[{key!r}]")
    if isinstance(mine, list | tuple) and isinstance(others, list | tuple) and len(mine) == len(others):
        for index, pair in enumerate(zip(mine, others, strict=True)):
            if pair[0] != pair[1]:
                return _difference(*pair, f"{where}[{index}]")
    return f"{where} is {str(others)[:200]} where it should be {str(mine)[:200]}"


_keys = itertools.count(1)
_REQUEST_ID: Final = re.compile(r"req_\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids of the provider's requests, and those that libraries draw at random."""
_VOLATILE_HEADERS: Final = frozenset({"x-api-key", "authorization", "idempotency-key", "host", "content-length"})


def run(library: Library, case: Case, provider: Provider) -> Ran:
    """Make the call of a case against the provider, which plays its steps from the start."""
    key = loaded(case.steps, provider)
    value, error, before = None, None, len(provider.requests)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = call(library, case.call, provider.url, key, **case.options)
        except Exception as raised:  # noqa: BLE001 - the subject
            error = raised
    sent = tuple(_request(request) for request in provider.requests[before:])
    heard = [w for w in caught if w.category not in library.warns and not re.search(library.noise, str(w.message))]
    warned = tuple(Warned(w.category, str(w.message), w.filename, w.lineno) for w in heard)
    return Ran(plain(value), type(value), error, _said(error), sent, warned)


def loaded(steps: Sequence[Step], provider: Provider) -> str:
    """Let the provider play steps for a new API key; returns the key."""
    key = f"sk-{CANARY}-{next(_keys)}"
    provider.load(steps, key)
    return key


def without_request_ids(text: str) -> str:
    """Return a text in which the ids that differ from call to call are equal."""
    return _REQUEST_ID.sub("req", text)


def call(library: Library, invoke: Invoke, url: str, key: str, **options: Any) -> Any:
    """Return what a call on a new client gives; an async one in an event loop of its own."""
    if inspect.iscoroutinefunction(invoke):
        return asyncio.run(call_async(library, invoke, url, key, **options))
    with library.client(url, key, **options) as client:
        return invoke(client)


async def call_async(library: Library, invoke: Invoke, url: str, key: str, **options: Any) -> Any:
    """Return what a call on a new async client gives."""
    async with library.async_client(url, key, **options) as client:
        return await invoke(client)


def plain(value: Any) -> Any:
    """Return a value of a library in a form that can be compared, with the types of the objects in it."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return type(value).__name__, plain(dump(warnings=False))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return without_request_ids(value) if isinstance(value, str) else value


def _said(error: BaseException | None) -> Any:
    if error is None:
        return None
    cause, context = type(error.__cause__), type(error.__context__)
    notes = getattr(error, "__notes__", None)
    body = getattr(error, "body", None)
    return plain([str(error), list(map(str, error.args)), body, cause.__name__, context.__name__, notes])


def _request(request: Recorded) -> Any:
    headers = {name: value for name, value in request.headers.items() if name not in _VOLATILE_HEADERS}
    return request.path, headers, request.body, request.status
