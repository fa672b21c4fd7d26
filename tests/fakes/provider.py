"""A model provider that follows a script: the APIs of Anthropic and OpenAI on one local port."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from . import batches, openai_responses_wire, openai_wire, wire
from .demo import demo_script
from .dialect import Dialect
from .server import Handler, LocalServer
from .steps import (
    API_ERROR,
    BAD_KEY,
    EXHAUSTED,
    OVERFLOW,
    OVERLOADED,
    PROMPT_TOO_LONG,
    Dropped,
    Failure,
    Garbage,
    Reply,
    Step,
    ToolUse,
    Usage,
    rate_limited,
)

__all__ = [
    "API_ERROR",
    "BAD_KEY",
    "EXHAUSTED",
    "OVERFLOW",
    "OVERLOADED",
    "PROMPT_TOO_LONG",
    "Dropped",
    "Failure",
    "Garbage",
    "Provider",
    "Recorded",
    "Reply",
    "Step",
    "ToolUse",
    "Usage",
    "demo_script",
    "rate_limited",
]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request and what it was answered.

    Attributes:
        path: As sent, with the query.
        headers: By lower-case name.
        body: The JSON of the request, or the text of a body that is not JSON.
        status: `None` if the connection was dropped.
        reply: The message, token count or error sent, even if its stream was cut; else `None`.
        request_id: As an error answer names it.
    """

    path: str
    headers: dict[str, str]
    body: Any
    status: int | None
    reply: dict[str, Any] | None
    request_id: str = ""

    @property
    def key(self) -> str:
        """The API key, which clients send as `x-api-key`, as `api-key` (Azure) or as a bearer token."""
        return _key(self.headers)


@dataclass(slots=True)
class _Script:
    """The steps for one key and how far they were taken."""

    steps: tuple[Step, ...] = ()
    taken: int = 0
    ids: Counter[str] = field(default_factory=Counter)
    sent_input: int = 0
    sent_output: int = 0

    def take(self) -> Step:
        self.taken += 1
        return self.steps[self.taken - 1] if self.taken <= len(self.steps) else EXHAUSTED

    def next_id(self, prefix: str) -> str:
        self.ids[prefix] += 1
        return f"{prefix}{self.ids[prefix]:04}"


class Provider:
    """Answers requests by script and remembers them; safe for many clients at once.

    A request follows the script loaded for its API key, or else the default one, loaded for `""`. Its path says
    in which API's words it is answered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts = {"": _Script()}
        self._requests: list[Recorded] = []
        self._server = LocalServer(_Answers, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; delays and open streams end at once."""
        self._server.stop()

    @property
    def url(self) -> str:
        """What a client of Anthropic takes as `base_url`; one of OpenAI takes it with `/v1`."""
        return self._server.url

    @property
    def requests(self) -> list[Recorded]:
        """Every request so far, in order of arrival."""
        with self._lock:
            return list(self._requests)

    def load(self, steps: Iterable[Step], key: str = "") -> None:
        """Start a new script for a key; its ids and totals begin anew."""
        with self._lock:
            self._scripts[key] = _Script(tuple(steps))

    def usage_sent(self, key: str = "") -> tuple[int, int]:
        """Input tokens, cache included, and output tokens of the replies whose final usage was sent."""
        with self._lock:
            script = self._scripts[key]
            return script.sent_input, script.sent_output

    def receive(self, path: str, headers: dict[str, str], raw: bytes) -> tuple[Step | None, Recorded]:
        """Choose and record the answer to a request; the step is `None` for a token count or a batch."""
        with self._lock:
            request_id = f"req_{len(self._requests) + 1:04}"
            body = _parsed(raw)
            about_batches = batches.is_batch(path)
            dialect = dialect_of(path)
            step: Step | None = None if about_batches else dialect.refusal(path, body)
            reply = batches.reply(path, self.url) if about_batches else None
            reply = reply if reply or step else dialect.unscripted(path, raw)
            if step is None and reply is None:
                script = self._script(_key(headers))
                step = script.take()
                reply = dialect.reply(step, body, script.next_id) if isinstance(step, Reply) else None
            if isinstance(step, Failure):
                reply = dialect.error(step, request_id)
            recorded = Recorded(path, headers, body, _status(step), reply, request_id)
            self._requests.append(recorded)
            return step, recorded

    def deliver(self, key: str, usage: Usage) -> None:
        """Count a usage that is about to be sent."""
        with self._lock:
            script = self._script(key)
            script.sent_input += usage.whole_input
            script.sent_output += usage.output

    def _script(self, key: str) -> _Script:
        return self._scripts.get(key, self._scripts[""])


_ANTHROPIC = wire.Anthropic()
_OPENAI: dict[str, Dialect] = {
    "/chat/completions": openai_wire.Chat(),
    "/responses": openai_responses_wire.Responses(),
    "/embeddings": openai_wire.Embeddings(),
    "/completions": openai_wire.Completions(),
}


class _Answers(Handler):
    """Puts the chosen answers on the wire."""

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        self.do_POST()

    def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
        headers = {name.lower(): value for name, value in self.headers.items()}
        step, recorded = self.server.owner.receive(self.path, headers, self.read_body())
        streamed = isinstance(recorded.body, dict) and recorded.body.get("stream") is True
        match step:
            case Dropped():
                self.hang_up()
            case Garbage():
                self._send_garbage(streamed)
            case Reply():
                self.server.closing.wait(step.delay_s)
                send = self._send_stream if streamed else self._send_message
                send(step, recorded)
            case _:
                self._send_json(recorded, dict(step.headers) if step else {})

    def _send_json(self, recorded: Recorded, headers: dict[str, str]) -> None:
        if (recorded.status or 0) >= 400:
            headers[dialect_of(recorded.path).request_id_header] = recorded.request_id
        headers["content-type"] = "application/json"
        self.answer(recorded.status or 200, json.dumps(recorded.reply).encode(), headers)

    def _send_garbage(self, streamed: bool) -> None:
        kind = "text/event-stream; charset=utf-8" if streamed else "application/json"
        self.answer(200, dialect_of(self.path).garbage(streamed), {"content-type": kind})

    def _send_message(self, step: Reply, recorded: Recorded) -> None:
        self.server.owner.deliver(recorded.key, step.usage)
        self._send_json(recorded, {})

    def _send_stream(self, step: Reply, recorded: Recorded) -> None:
        kind = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}
        self.send_head(200, kind)
        frames = dialect_of(recorded.path).stream(recorded.reply or {}, recorded.body)
        for number, (frame, has_usage) in enumerate(frames):
            if number == step.cut_after:
                self._cut(step)
                return
            if number and self.server.closing.wait(step.chunk_delay_s):
                self.hang_up()
                return
            if has_usage:
                self.server.owner.deliver(recorded.key, step.usage)
            self._send_chunk(frame)
        self._send_chunk(b"")

    def _cut(self, step: Reply) -> None:
        if step.cut_error is None:
            self.hang_up()
            return
        self._send_chunk(dialect_of(self.path).stream_error(step.cut_error))
        self._send_chunk(b"")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _key(headers: dict[str, str]) -> str:
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("x-api-key", headers.get("api-key", bearer))


def dialect_of(path: str) -> Dialect:
    """The API that a path ends in, whatever stands before it; a path of none is answered as Anthropic does."""
    plain = urlsplit(path).path
    return next((dialect for ending, dialect in _OPENAI.items() if plain.endswith(ending)), _ANTHROPIC)


def _status(step: Step | None) -> int | None:
    match step:
        case Failure():
            return step.status
        case Dropped():
            return None
        case _:
            return 200
