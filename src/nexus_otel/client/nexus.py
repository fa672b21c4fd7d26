"""`NexusClient`: traces and spans in three lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from nexus_otel.client.spans import Trace, start_trace
from nexus_otel.config import NexusError


class Ways:
    """What the client needs of the process around it; set where that is known.

    Attributes:
        flush: Sends what waits, for at most so many seconds; returns whether all of it is delivered.
        named: Takes the name of the agent that this process is.
        account: Given an API key and a base URL, gives the context key and value by which traces are sent there.
    """

    def __init__(self) -> None:
        self.flush: Callable[[float], bool] = lambda _timeout: True
        self.named: Callable[[str], None] = lambda _name: None
        self.account: Callable[[str, str | None], tuple[str, Any] | None] = lambda _key, _url: None


ways: Final = Ways()


class NexusClient:
    """Records runs of an agent that its author marks.

    Everything returns at once, without any network, and may be awaited or not.

    Args:
        api_key: Of the hosted Nexus service: the traces of this client are sent there.
        agent_id: The agent's name, and the service's where the process has no other; by default the service's.
        base_url: Of the hosted service, where it is not the usual one.

    Raises:
        NexusError: An argument cannot be used.
    """

    def __init__(self, api_key: str | None = None, agent_id: str | None = None, base_url: str | None = None) -> None:
        for name, value in (("api_key", api_key), ("agent_id", agent_id), ("base_url", base_url)):
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise NexusError(f"NexusClient({name}=...): expected a text that is not empty, or None")
        if base_url is not None and not _is_address(base_url):
            raise NexusError(
                f"NexusClient(base_url={base_url.partition('?')[0]!r}): expected an address such as https://nexus.example"
            )
        self.agent_id = agent_id
        self._route = ways.account(api_key, base_url) if api_key is not None else None
        if agent_id is not None:
            ways.named(agent_id)

    def start_trace(self, name: str = "agent-run", metadata: Mapping[str, Any] | None = None) -> Trace:
        """Start a run of the agent and return at once; it is current until it ends.

        Args:
            name: What the run is called.
            metadata: `input`, and what finds the run again: `user_id`, `session_id`, `environment`, `git_sha`,
                `agent_version`, `conversation_id` or anything else. All but the input is on every span of the run.
        """
        return start_trace(self.agent_id, name, metadata, self._route)

    def flush(self, timeout: float = 10.0) -> bool:
        """Write and send what waits, for at most `timeout` seconds; returns whether all of it is delivered."""
        return ways.flush(timeout)

    def shutdown(self, timeout: float = 10.0) -> bool:
        """Flush; the client may be used on."""
        return self.flush(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
