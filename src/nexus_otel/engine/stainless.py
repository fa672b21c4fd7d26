"""What the SDKs made by Stainless (Anthropic, OpenAI and others) return: streams, raw responses, stream managers.

The objects that the caller gets are the SDK's own. A stream is observed through its `_iterator` and the `close` of its
HTTP response, both set on the instance (anthropic 2.12: `_streaming.Stream`, `_response.APIResponse`,
`lib.streaming.MessageStreamManager`); nothing of them is called before its time.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import weakref
from collections.abc import Callable, Generator
from typing import Any, Final

from nexus_otel._guard import guard, quietly
from nexus_otel.engine.driver import ModelStep
from nexus_otel.engine.proxies import ManagerProxy
from nexus_otel.engine.steps import SilentStep, Step
from nexus_otel.engine.streams import ABANDONED, CLOSED, Closed, Watch, watched

_servers: dict[int, tuple[Any, str | None, int | None]] = {}
_MAX_SERVERS: Final = 256
_MAX_KINDS: Final = 1_000


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
    kind = _kinds.get(value.__class__) or _kind(value)
    if kind == "plain" or not isinstance(step, ModelStep):
        step.done(value)
    elif kind == "stream":
        observe_stream(step, value)
    else:
        _settle_raw(step, value)
    return value


_kinds: dict[type, str] = {}


def _kind(value: Any) -> str:
    """Return what a value is, found out once per class: asking a model for what it lacks is dear."""
    if len(_kinds) > _MAX_KINDS:
        _kinds.clear()
    raw = hasattr(value, "http_response") and hasattr(value, "parse")
    kind = "stream" if is_stream(value) else "raw" if raw else "plain"
    _kinds[value.__class__] = kind
    return kind


def is_stream(value: Any) -> bool:
    """Whether a value is a stream of events."""
    return hasattr(type(value), "__stream__") and hasattr(value, "response")


def observe_stream(step: ModelStep, stream: Any) -> None:
    """See to it that the events of a stream are folded, and that the step ends with it."""
    _Reading(Watch(step), stream)


def hide(stream: Any, hidden: Callable[[Any], bool]) -> None:
    """Let the caller have a stream without some of its events; our watch sees them all."""
    kind = _VisibleAsync if hasattr(stream._iterator, "__anext__") else _Visible
    stream._iterator = kind(stream._iterator, hidden)


class _Visible:
    """The events of a stream but for those that are hidden."""

    def __init__(self, iterator: Any, hidden: Callable[[Any], bool]) -> None:
        self._iterator = iterator
        self._hidden = hidden

    def __iter__(self) -> _Visible:
        return self

    def __next__(self) -> Any:
        while quietly(self._hidden, event := next(self._iterator)):
            pass
        return event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)


class _VisibleAsync(_Visible):
    """The same, async."""

    def __aiter__(self) -> _VisibleAsync:
        return self

    async def __anext__(self) -> Any:
        while quietly(self._hidden, event := await anext(self._iterator)):
            pass
        return event


class Closing:
    """Calls back when an HTTP response is closed, by whichever way, and then leaves it as it was.

    The callback may return what is to be told of how closing went. The methods hold the response: an application may
    drop it between looking a method up and calling it.
    """

    def __init__(self, response: Any, callback: Callable[[], Closed | None]) -> None:
        self.response = response
        self._callback = callback
        for name, method in (("close", self._close), ("aclose", self._aclose)):
            if hasattr(type(response), name):
                setattr(response, name, method)

    def _close(self) -> Any:
        with _Telling(self._closing()):
            return self.response.close()

    async def _aclose(self) -> Any:
        with _Telling(self._closing()):
            return await self.response.aclose()

    def _closing(self) -> Closed | None:
        self.restore("close", "aclose")
        with guard("seeing a response closed"):
            return self._callback()
        return None

    def restore(self, *names: str) -> None:
        """Take our methods off the response."""
        for name in names:
            vars(self.response).pop(name, None)


class _Telling:
    """Tells how closing went, if somebody wants to know."""

    def __init__(self, closed: Closed | None) -> None:
        self._told = closed

    def __enter__(self) -> None:
        """Nothing is told yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._told is not None:
            with guard("hearing how a response was closed"):
                self._told(error)


class _Reading(Closing):
    """The watch over a response that is read by a stream."""

    def __init__(self, watch: Watch, stream: Any) -> None:
        self._watch = watch
        self._begin(stream)
        super().__init__(stream.response, self._closed)

    def _begin(self, stream: Any) -> None:
        iterator = stream._iterator
        # the iterator goes with the stream: were it held by the response, dropping the stream would not close it
        self._iterator = quietly(weakref.ref, iterator) or (lambda: None)
        stream._iterator = watched(iterator, self._watch)
        self._dropped = weakref.finalize(stream, self._watch.stopped, ABANDONED)
        self._dropped.atexit = False

    def pass_to(self, stream: Any) -> None:
        """Watch another stream in the place of the first, which nobody reads."""
        self._dropped.detach()
        self._begin(stream)

    def _closed(self) -> Closed | None:
        return self._watch.closing(self._iterator())


def observe_streams(original: Callable[..., None]) -> Callable[..., None]:
    """Return the `__init__` of streams that passes the watch on to a stream made of a response that has one.

    The stream helpers of anthropic before 0.43 do not read the stream that the request returned, but make another.
    """

    @functools.wraps(original)
    def init(stream: Any, *args: Any, **kwargs: Any) -> None:
        original(stream, *args, **kwargs)
        with guard("passing the watch over a response on"):
            reading = getattr(vars(stream.response).get("close"), "__self__", None)
            if isinstance(reading, _Reading):
                reading.pass_to(stream)

    return init


# -- raw responses -----------------------------------------------------------------------------------------------------

_UNREAD: Final = "_nexus_unread"


def _settle_raw(step: ModelStep, raw: Any) -> None:
    """End with the body of a raw response: at once if it was read, else when it is."""
    if getattr(raw.http_response, "is_closed", True):
        step.done(_body(raw.http_response))
        return
    setattr(raw, _UNREAD, _Unread(step, raw.http_response))


def _body(response: Any) -> Any:
    """Return the JSON body of a response that was read; None where it is none."""
    try:
        return json.loads(response.content)
    except Exception:  # noqa: BLE001 - not read, or no JSON: there is nothing to tell
        return None


def observe_parse(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `parse` of raw responses that lets us watch a stream that it returns."""

    @functools.wraps(original)
    def parse(raw: Any, *args: Any, **kwargs: Any) -> Any:
        return _parsed(raw, original(raw, *args, **kwargs))

    @functools.wraps(original)
    async def parse_async(raw: Any, *args: Any, **kwargs: Any) -> Any:
        return _parsed(raw, await original(raw, *args, **kwargs))

    return parse_async if inspect.iscoroutinefunction(original) else parse


def _parsed(raw: Any, value: Any) -> Any:
    with guard("reading a parsed response"):
        unread = getattr(raw, _UNREAD, None)
        if unread is not None and is_stream(value):
            unread.stream(value)
    return value


class _Unread(Closing):
    """The watch over a response whose body nobody has read yet."""

    def __init__(self, step: ModelStep, response: Any) -> None:
        super().__init__(response, self._closed)
        self._step = step
        self._reading = False
        self._streamed = False
        self._handled = sys.exception()
        response.read = self._read
        response.aread = self._read_async
        weakref.finalize(response, step.finish, None, stream=ABANDONED).atexit = False

    def stream(self, value: Any) -> None:
        """Watch the stream that the body was parsed to."""
        if not self._streamed:
            self._streamed = True
            observe_stream(self._step, value)

    def _read(self) -> bytes:
        self.restore("read")
        with self:
            content: bytes = self.response.read()
        self._done()
        return content

    async def _read_async(self) -> bytes:
        self.restore("aread")
        with self:
            content: bytes = await self.response.aread()
        self._done()
        return content

    def __enter__(self) -> None:
        self._reading = True  # that the response closes is then no end

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._reading = False
        if error is not None:
            self._step.failed(error)

    def _done(self) -> None:
        with guard("reading the body of a response"):
            self._step.done(_body(self.response))

    def _closed(self) -> None:
        if self._reading or self._streamed:
            return
        error = sys.exception()
        if error is not None and error is not self._handled and not isinstance(error, GeneratorExit):
            self._step.failed(error)
        else:
            self._step.finish(None, stream=CLOSED)


# -- stream managers ---------------------------------------------------------------------------------------------------


def defer(start: Callable[[], Step | SilentStep | None], manager: Any) -> Any:
    """Return a stream manager whose request is a step of its own when it is entered."""
    name = next((name for name in vars(manager) if name.endswith("__api_request")), None)
    if name is None:
        return ManagerProxy(manager, start)
    request = getattr(manager, name)
    setattr(manager, name, _request(start, request) if callable(request) else _Awaited(start, request))
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
