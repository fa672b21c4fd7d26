"""The connection to a destination, in the protocol that it speaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from nexus_otel.export.answer import Answer
from nexus_otel.export.destinations import GRPC, Destination
from nexus_otel.export.segment import Target

_PLAIN_KEY: Final = "suppress_instrumentation"
"""The context key that older instrumentations look at."""


class Client(Protocol):
    """Speaks one protocol with one destination."""

    def send(self, body: bytes, timeout_s: float) -> Answer:
        """Send a request and wait for the answer. Never raises for the network."""

    def close(self) -> None:
        """Give up what is under way, from whatever thread."""


@contextmanager
def unobserved() -> Iterator[None]:
    """A context in which other instrumentations record nothing."""
    context = set_value(_PLAIN_KEY, value=True)
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True, context=context))
    try:
        yield
    finally:
        detach(token)


class Way(Protocol):
    """The way to a destination.

    Attributes:
        is_blind: Whether a failure does not say what is wrong.
    """

    is_blind: bool

    def post(self, body: bytes, timeout_s: float) -> Answer:
        """Send a request and wait for the answer. Never raises for the network."""

    def close(self) -> None:
        """Give up the request that is under way."""


class To(Protocol):
    """Where records are sent."""

    @property
    def signal(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def target(self) -> Target: ...


class HasWay(To, Protocol):
    """A destination that knows its own way."""

    def connect(self) -> Way: ...


def way_to(to: Destination | HasWay) -> Way:
    """Return the way to a destination, unconnected."""
    return Transport(to) if isinstance(to, Destination) else to.connect()


class Transport:
    """The connection to one destination."""

    is_blind = False

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._client: Client | None = None

    def post(self, body: bytes, timeout_s: float) -> Answer:
        """Send a request and wait for the answer. Never raises for the network.

        Args:
            body: The request as protobuf.
            timeout_s: How long to wait at most, in seconds; the destination's own timeout may be shorter.
        """
        with unobserved():
            return self._posted(body, min(timeout_s, self._destination.timeout_s))

    def close(self) -> None:
        """Give up the request that is under way; the next one makes a new connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _posted(self, body: bytes, timeout_s: float) -> Answer:
        if self._client is None:
            self._client = _client(self._destination)
        return self._client.send(body, timeout_s)


def _client(destination: Destination) -> Client:
    if destination.protocol != GRPC:
        from nexus_otel.export.over_http import HttpClient

        return HttpClient(destination)
    from nexus_otel.export.over_grpc import GrpcClient, is_inherited

    if is_inherited():
        from nexus_otel.export.after_fork_grpc import HelpedClient

        return HelpedClient(destination)
    return GrpcClient(destination)
