"""What the SDKs made by Stainless (Anthropic, OpenAI and others) return: streams, raw responses, stream managers.

The objects that the caller gets are the SDK's own. A stream is observed through its `_iterator` and the `close` of its
HTTP response, both set on the instance (anthropic 2.12: `_streaming.Stream`, `_response.APIResponse`,
`lib.streaming.MessageStreamManager`); nothing of them is called before its time.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Callable, Generator
from typing import Any, Final

from nexus_otel._guard import guard, report
from nexus_otel.engine.driver import ModelStep, SilentStep, Step
from nexus_otel.engine.streams import ABANDONED, CLOSED, Watch, watched

_servers: dict[int, tuple[Any, str | None, int | None]] = {}
_MAX_SERVERS: Final = 256


def server(client: Any) -> tuple[str | None, int | None]:
    """Return host and port that a client sends to; read once per URL, which is dear to take apart."""
    url = getattr(client, "_base_url", None)
    found = _servers.get(id(url))
    if found is None or found[0] is not url:
        host, port = getattr(url, "host", None) or None, getattr(url, "port", None)
        found = (url, host, port or {"https": 443, "http": 80}.get(getattr(url, "scheme", "")))
        if len(_servers) >= _MAX_SERVERS:
            _servers.clear()
        _servers[id(url)] = found
    return found[1], found[2]


def settle(step: Step, value: Any) -> Any:
    """Return `value` itself; its step ends now, or when the stream or the body that it stands for has been read."""
    if not isinstance(step, ModelStep):
        step.done(value)
    elif is_stream(value):
        observe_stream(step, value)
    elif hasattr(value, "http_response") and hasattr(value, "parse"):
        _settle_raw(step, value)
    else:
        step.done(value)
    return value


def is_stream(value: Any) -> bool:
    """Whether a value is a stream of events."""
    return hasattr(type(value), "__stream__") and hasattr(value, "response")


def observe_stream(step: ModelStep, stream: Any) -> None:
    """See to it that the events of a stream are folded, and that the step ends with it."""
    watch = Watch(step)
    iterator = stream._iterator
    stream._iterator = watched(iterator, watch)
    weakref.finalize(stream, watch.stopped, ABANDONED).atexit = False
    _on_close(stream.response, lambda: watch.closing(iterator))


def _on_close(response: Any, closing: Callable[[], None]) -> None:
    """Call `closing` when the HTTP response is closed, by whichever way."""
    reference = weakref.ref(response)

    def close() -> Any:
        with guard("seeing a stream closed"):
            closing()
        return _of(reference, "close")()

    async def aclose() -> Any:
        with guard("seeing a stream closed"):
            closing()
        return await _of(reference, "aclose")()

    for name, function in (("close", close), ("aclose", aclose)):
        if hasattr(type(response), name):
            setattr(response, name, function)


def _of(reference: weakref.ref[Any], name: str) -> Any:
    """Return a method of an object as its class has it."""
    instance = reference()
    return getattr(type(instance), name).__get__(instance)


# -- raw responses -----------------------------------------------------------------------------------------------------


def _settle_raw(step: ModelStep, raw: Any) -> None:
    """End with the body of a raw response: at once if it was read, else when it is."""
    if getattr(raw.http_response, "is_closed", True):
        step.done(_body(raw.http_response))
        return
    _Unread(step, raw)


def _body(response: Any) -> Any:
    """Return the JSON body of a response that was read; None where it is none."""
    try:
        return json.loads(response.content)
    except Exception:  # noqa: BLE001 - not read, or no JSON: there is nothing to tell
        return None


class _Unread:
    """The watch over a response whose body nobody has read yet; only ever reached from the response itself."""

    def __init__(self, step: ModelStep, raw: Any) -> None:
        self._step = step
        self._reading = False
        self._streamed = False
        self._handled = sys.exception()
        self._response = weakref.ref(raw.http_response)
        self._raw = weakref.ref(raw)
        asynchronous = hasattr(type(raw), "__aiter__") or type(raw).__name__.startswith("Async")
        raw.parse = self._parse_async if asynchronous else self._parse
        raw.http_response.read = self._read
        raw.http_response.aread = self._read_async
        _on_close(raw.http_response, self._closing)
        weakref.finalize(raw.http_response, step.finish, None, stream=ABANDONED).atexit = False

    def _parse(self, *args: Any, **kwargs: Any) -> Any:
        return self._parsed(_of(self._raw, "parse")(*args, **kwargs))

    async def _parse_async(self, *args: Any, **kwargs: Any) -> Any:
        return self._parsed(await _of(self._raw, "parse")(*args, **kwargs))

    def _parsed(self, value: Any) -> Any:
        with guard("reading a parsed response"):
            if not self._streamed and is_stream(value):
                self._streamed = True
                observe_stream(self._step, value)
        return value

    def _read(self) -> bytes:
        with _Reading(self):
            content: bytes = _of(self._response, "read")()
        self._done()
        return content

    async def _read_async(self) -> bytes:
        with _Reading(self):
            content: bytes = await _of(self._response, "aread")()
        self._done()
        return content

    def _done(self) -> None:
        with guard("reading the body of a response"):
            self._step.done(_body(self._response()))

    def _closing(self) -> None:
        if self._reading or self._streamed:
            return
        error = sys.exception()
        if error is not None and error is not self._handled and not isinstance(error, GeneratorExit):
            self._step.failed(error)
        else:
            self._step.finish(None, stream=CLOSED)


class _Reading:
    """While a body is being read, that the response closes is no end; that reading fails is."""

    def __init__(self, unread: _Unread) -> None:
        self._unread = unread

    def __enter__(self) -> None:
        self._unread._reading = True

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._unread._reading = False
        if error is not None:
            self._unread._step.failed(error)


# -- stream managers ---------------------------------------------------------------------------------------------------


def defer(start: Callable[[], Step | SilentStep | None], manager: Any) -> Any:
    """Return a stream manager whose request is a step of its own when it is entered."""
    try:
        name = next(name for name in vars(manager) if name.endswith("__api_request"))
        request = getattr(manager, name)
        setattr(manager, name, _request(start, request) if callable(request) else _Awaited(start, request))
    except Exception as error:  # noqa: BLE001 - ours: the manager works as it came
        report("preparing a stream manager", error)
    return manager


def _request(start: Callable[[], Step | SilentStep | None], request: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> Any:
        step = start()
        if step is None:
            return request()
        with step:
            stream = request()
        return step.settle(stream)

    return make


class _Awaited:
    """An awaitable request that is a step of its own when it is awaited."""

    def __init__(self, start: Callable[[], Step | SilentStep | None], request: Any) -> None:
        self._start = start
        self._request = request

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._make().__await__()

    async def _make(self) -> Any:
        step = self._start()
        if step is None:
            return await self._request
        with step:
            stream = await self._request
        return step.settle(stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)
