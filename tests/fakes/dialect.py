"""What a wire protocol must say about a scripted reply: one class for each provider's API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .steps import Failure, Reply

Json = dict[str, Any]
Ids = Callable[[str], str]
"""Gives the next id of a script with this prefix."""
Frame = tuple[bytes, bool]
"""A piece of a stream, and whether it carries the final usage."""


class Dialect(ABC):
    """How the answers of one API look on the wire."""

    request_id_header: str

    @abstractmethod
    def refusal(self, path: str, body: Any) -> Failure | None:
        """Why a request is wrong in itself; such a request takes no step."""

    def unscripted(self, path: str, raw: bytes) -> Json | None:
        """The answer to a request that takes no step, or `None`."""
        return None

    @abstractmethod
    def reply(self, reply: Reply, body: Json, ids: Ids) -> Json:
        """The whole answer, as a request that is not streamed gets it."""

    @abstractmethod
    def error(self, failure: Failure, request_id: str) -> Json:
        """The body of an error answer."""

    @abstractmethod
    def stream(self, whole: Json, body: Json) -> Iterator[Frame]:
        """The events that stream a whole answer."""

    @abstractmethod
    def stream_error(self, failure: Failure) -> bytes:
        """The event that says a failure in the middle of a stream."""

    @abstractmethod
    def garbage(self, streamed: bool) -> bytes:
        """The beginning of an answer, cut so that nobody can read it."""


def missing(body: Any, required: Sequence[str], message: str) -> Failure | None:
    """The refusal of a body that is no object or lacks a field; `message` is formatted with its name."""
    if not isinstance(body, dict):
        return Failure(400, "invalid_request_error", "The request body is not valid JSON.")
    absent = [name for name in required if name not in body]
    return Failure(400, "invalid_request_error", message.format(absent[0])) if absent else None


def pieces(text: str) -> list[str]:
    """A text in at most four parts, as a stream sends it."""
    size = max(1, -(-len(text) // 4))
    return [text[at : at + size] for at in range(0, len(text), size)]
