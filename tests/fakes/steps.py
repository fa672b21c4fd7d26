"""What a scripted provider does, request by request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, counted as the provider counts them: `input` leaves the cache out."""

    input: int = 100
    output: int = 20
    cache_read: int = 0
    cache_write: int = 0
    thinking: int | None = None

    @property
    def whole_input(self) -> int:
        """Every input token, from the cache or not."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool the model asks for; without an `id` the provider counts one."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A message of the model, in the order thinking, text, raw blocks, tools.

    Every dialect sends the same reply in its own words (`wire.py`, `openai_wire.py`).

    Attributes:
        text: A text block, if not empty.
        thinking: A thinking block, if not empty.
        tools: The tools asked for.
        usage: What the reply claims to have cost.
        stop_reason: By default `tool_use` with tools, `end_turn` without; in Anthropic's words.
        delay_s: How long the answer waits before its first byte.
        chunk_delay_s: How long a stream waits before every event but the first.
        cut_after: How many events a stream sends before the connection drops.
        cut_error: What a cut stream says, as an `error` event, in place of dropping.
        raw_blocks: Content blocks (Anthropic) or output items (OpenAI's Responses) sent as given.
        refusal: What the model says in refusing, in a field of its own; only OpenAI's dialects have one.
    """

    text: str = ""
    thinking: str = ""
    tools: Sequence[ToolUse] = ()
    usage: Usage = Usage()
    stop_reason: str | None = None
    delay_s: float = 0
    chunk_delay_s: float = 0
    cut_after: int | None = None
    cut_error: Failure | None = None
    raw_blocks: Sequence[Mapping[str, Any]] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer in the provider's own form; only OpenAI's errors have a `code`."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Garbage:
    """An answer that says 200 and is broken JSON."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A connection closed in place of an answer."""


Step = Reply | Failure | Garbage | Dropped

PROMPT_TOO_LONG = Failure(400, "invalid_request_error", "prompt is too long: 212000 tokens > 200000 maximum")
OVERFLOW = Failure(
    400,
    "invalid_request_error",
    "This model's maximum context length is 200000 tokens. However, your messages resulted in 212000 tokens. "
    "Please reduce the length of the messages.",
    code="context_length_exceeded",
)
BAD_KEY = Failure(401, "authentication_error", "invalid x-api-key")
API_ERROR = Failure(500, "api_error", "Internal server error")
OVERLOADED = Failure(529, "overloaded_error", "Overloaded")
EXHAUSTED = Failure(500, "script_exhausted", "The script has no further step.", {"x-should-retry": "false"})


def rate_limited(retry_after_ms: int = 1) -> Failure:
    """A 429 that says in both of the provider's ways how long to wait."""
    seconds = -(-retry_after_ms // 1000)
    headers = {"retry-after": str(seconds), "retry-after-ms": str(retry_after_ms)}
    return Failure(429, "rate_limit_error", "This request would exceed your organization's rate limit.", headers)
