"""The tests of streams: however one ends, its span ends once, and says how."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import pytest

from nexus_otel import semconv
from nexus_otel.engine import streams
from tests.fakes.provider import OVERLOADED, Provider, Reply, Step, Usage
from tests.kit.cases import CANARY, Library, StreamCase, loaded, marked, without_request_ids
from tests.kit.conventions import violations
from tests.kit.recording import instrumented, values

USAGE: Final = Usage(input=30, output=50, cache_read=12)
ANSWER: Final = Reply(f"A long answer about the {CANARY}, in several pieces.", usage=USAGE)
_TAKEN: Final = 3


class UserError(Exception):
    """Raised by the code that reads a stream."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A way in which a stream ends.

    Attributes:
        read: Reads a stream that was opened, in a `with` block where there is one.
        step: What the provider plays.
        outcome: `nexus.stream.outcome`, outside of a manager and inside of one.
        error: `error.type`; the exception that is raised need not be of that name.
        whole: Whether the whole answer arrived.
    """

    read: Callable[[Any], Any]
    outcome: tuple[str | None, str | None] = (None, None)
    step: Step = ANSWER
    error: str | None = None
    whole: bool = False


# -- ways to read ------------------------------------------------------------------------------------------------------


def _some(stream: Any) -> None:
    for _ in range(_TAKEN):
        next(stream)


def _all(stream: Any) -> None:
    for _ in stream:
        pass


def _until(last: Callable[[Any], bool]) -> Callable[[Any], Any]:
    def read(stream: Any) -> None:
        for event in stream:
            if last(event):
                break

    return read


def _closed(stream: Any) -> None:
    _some(stream)
    stream.close()
    stream.close()


def _broken_out(stream: Any) -> None:
    for _ in stream:
        break


def _user_error(stream: Any) -> None:
    _some(stream)
    raise UserError(CANARY)


def _never(stream: Any) -> None:
    assert hasattr(stream, "__next__")


def _in_a_closed_generator(stream: Any) -> None:
    def events() -> Any:
        yield from stream

    generator = events()
    next(generator)
    generator.close()


async def _some_async(stream: Any) -> None:
    for _ in range(_TAKEN):
        await anext(stream)


async def _all_async(stream: Any) -> None:
    async for _ in stream:
        pass


def _until_async(last: Callable[[Any], bool]) -> Callable[[Any], Any]:
    async def read(stream: Any) -> None:
        async for event in stream:
            if last(event):
                break

    return read


async def _closed_async(stream: Any) -> None:
    await _some_async(stream)
    await stream.close()
    await stream.close()


async def _broken_out_async(stream: Any) -> None:
    async for _ in stream:
        break


async def _user_error_async(stream: Any) -> None:
    await _some_async(stream)
    raise UserError(CANARY)


async def _never_async(stream: Any) -> None:
    assert hasattr(stream, "__anext__")


async def _cancelled(stream: Any) -> None:
    task = asyncio.ensure_future(_all_async(stream))
    await asyncio.sleep(0.02)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _in_a_thread(stream: Any) -> None:
    thread = threading.Thread(target=_all, args=(stream,))
    thread.start()
    thread.join()


async def _in_a_task(stream: Any) -> None:
    await asyncio.ensure_future(_all_async(stream))


def _process_ends(stream: Any) -> None:
    _some(stream)
    streams.end_open()


async def _process_ends_async(stream: Any) -> None:
    await _some_async(stream)
    streams.end_open()


_CUT: Final = Reply(ANSWER.text, usage=USAGE, cut_after=5)
_ERROR_EVENT: Final = Reply(ANSWER.text, usage=USAGE, cut_after=5, cut_error=OVERLOADED)
_SLOW: Final = Reply(ANSWER.text, usage=USAGE, chunk_delay_s=30)
_LEFT: Final = ("abandoned", "closed")

ENDINGS: Final = {
    "read": Ending(_all, whole=True),
    "read in a thread": Ending(_in_a_thread, whole=True),
    "complete": Ending(_all, whole=True),
    "closed": Ending(_closed, ("closed", "closed")),
    "broken out": Ending(_broken_out, _LEFT),
    "never read": Ending(_never, _LEFT),
    "generator closed": Ending(_in_a_closed_generator, _LEFT),
    "process ends": Ending(_process_ends, ("abandoned", "abandoned")),
    "user error": Ending(_user_error, error="UserError"),
    "cut": Ending(_all, step=_CUT, error="RemoteProtocolError"),
    "error event": Ending(_all, step=_ERROR_EVENT, error="overloaded_error"),
}
ENDINGS_ASYNC: Final = {
    "read": Ending(_all_async, whole=True),
    "read in a task": Ending(_in_a_task, whole=True),
    "complete": Ending(_all_async, whole=True),
    "closed": Ending(_closed_async, ("closed", "closed")),
    "broken out": Ending(_broken_out_async, _LEFT),
    "never read": Ending(_never_async, _LEFT),
    "process ends": Ending(_process_ends_async, ("abandoned", "abandoned")),
    "user error": Ending(_user_error_async, error="UserError"),
    "cut": Ending(_all_async, step=_CUT, error="RemoteProtocolError"),
    "error event": Ending(_all_async, step=_ERROR_EVENT, error="overloaded_error"),
    "cancelled": Ending(_cancelled, ("cancelled", "cancelled"), step=_SLOW),
}


def ending_of(library: Library, case: StreamCase, name: str) -> Ending:
    """Return an ending as it is with a stream of a library."""
    found = (ENDINGS_ASYNC if case.asynchronous else ENDINGS)[name]
    if name == "complete":
        return replace(found, read=(_until_async if case.asynchronous else _until)(case.last))
    return replace(found, error=library.stream_errors.get(name, found.error))


_WITHOUT_EVENTS: Final = frozenset({"never read", "cancelled"})


# -- the tests ---------------------------------------------------------------------------------------------------------


class Streaming:
    """What holds for every stream. A test module subclasses it, with its streams.

    Attributes:
        library: The library under test.
        cases: Its streams.
    """

    library: ClassVar[Library]
    cases: ClassVar[Sequence[StreamCase]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test its streams, and the ways in which they end."""
        if "ending" in metafunc.fixturenames:
            every = [(c, e) for c in self.cases for e in (ENDINGS_ASYNC if c.asynchronous else ENDINGS)]
            pairs = [(case, ending) for case, ending in every if ending not in case.without]
            lines, version, test = self.library.lines, self.library.version, metafunc.function.__name__
            metafunc.parametrize(
                ("case", "ending"),
                [pytest.param(c, e, id=f"{c.id}-{e}", marks=lines.marks(c.id, test, version)) for c, e in pairs],
            )
        elif "case" in metafunc.fixturenames:
            metafunc.parametrize("case", marked(self.library, self.cases, metafunc.function.__name__))

    def test_its_span_ends_once_and_says_how(self, case: StreamCase, ending: str, provider: Provider) -> None:
        how = ending_of(self.library, case, ending)
        with instrumented(self.library.instrumentor) as seen:
            self._read(case, how, provider)
            assert seen.open == {}
        span = seen.one()
        attributes = values(span)
        assert violations(span) == []
        assert attributes.get(semconv.STREAM_OUTCOME) == how.outcome[case.manager]
        assert attributes.get(semconv.ERROR_TYPE) == how.error
        assert CANARY not in seen.text()
        if ending not in _WITHOUT_EVENTS:
            assert attributes[semconv.RESPONSE_FIRST_CHUNK] > 0
        if how.whole or (self.library.usage_first and ending not in _WITHOUT_EVENTS):
            assert attributes[semconv.USAGE_INPUT] == USAGE.whole_input
        if how.whole:
            assert attributes[semconv.USAGE_OUTPUT] == USAGE.output
            assert attributes[semconv.RESPONSE_FINISH_REASONS] == ("stop",)

    def test_reading_it_is_as_without_us(self, case: StreamCase, ending: str, provider: Provider) -> None:
        how = ending_of(self.library, case, ending)
        bare = self._read(case, how, provider)
        with instrumented(self.library.instrumentor):
            ours = self._read(case, how, provider)
        assert ours == bare
        assert bool(bare) == (how.error is not None)

    def test_it_is_the_library_s_own(self, case: StreamCase, provider: Provider) -> None:
        bare: list[Any] = []
        ours: list[Any] = []
        self._read(case, Ending(_looking(case, bare)), provider)
        with instrumented(self.library.instrumentor):
            self._read(case, Ending(_looking(case, ours)), provider)
        assert ours == bare
        assert any(issubclass(ours[0], known) for known in self.library.stream_types)

    @pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
    def test_a_manager_that_is_never_entered_makes_no_call(self, case: StreamCase, provider: Provider) -> None:
        before = len(provider.requests)
        with instrumented(self.library.instrumentor) as seen:
            self._read(case, Ending(_looking(case, [])), provider, enter=False)
        assert (len(seen.spans), len(provider.requests) - before) == ((0, 0) if case.manager else (1, 1))

    def _read(self, case: StreamCase, how: Ending, provider: Provider, *, enter: bool = True) -> str:
        """Open a stream and read it; returns what was raised, with its type."""
        key = loaded([how.step], provider)
        try:
            if case.asynchronous:
                asyncio.run(self._read_async(case, how, provider.url, key, enter=enter))
            else:
                self._read_sync(case, how, provider.url, key, enter=enter)
        except Exception as error:  # noqa: BLE001 - the subject
            return f"{type(error).__name__}: {without_request_ids(str(error))}"
        finally:
            gc.collect()
        return ""

    def _read_sync(self, case: StreamCase, how: Ending, url: str, key: str, *, enter: bool) -> None:
        with self.library.client(url, key) as client:
            if not enter:
                case.open(client)
            elif case.manager or how.error == UserError.__name__:
                with case.open(client) as stream:
                    how.read(stream)
            else:
                how.read(case.open(client))

    async def _read_async(self, case: StreamCase, how: Ending, url: str, key: str, *, enter: bool) -> None:
        async with self.library.async_client(url, key) as client:
            if not enter:
                await _opened(case, client)
            elif case.manager or how.error == UserError.__name__:
                async with await _opened(case, client) as stream:
                    await how.read(stream)
            else:
                await how.read(await _opened(case, client))


async def _opened(case: StreamCase, client: Any) -> Any:
    opened = case.open(client)
    return await opened if inspect.iscoroutine(opened) else opened


def _looking(case: StreamCase, found: list[Any]) -> Callable[[Any], Any]:
    """Return a reader that only looks at what the caller has of a stream; without what `copy` notes on its class."""

    def look(stream: Any) -> None:
        response = stream.response if hasattr(stream, "response") else stream._response
        found.extend([type(stream), response.status_code, sorted({*dir(stream)} - {"__slotnames__"})])

    async def look_async(stream: Any) -> None:
        look(stream)

    return look_async if case.asynchronous else look
