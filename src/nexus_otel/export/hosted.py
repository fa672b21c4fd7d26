"""The hosted Nexus service: a run whole, in one request, after it has ended.

The service makes a new trace of each request, so nothing of a run is sent before all of it has ended, and a request
that may have arrived is not sent again. What is sent is kept in the local store too.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,
    Context,
    attach,
    create_key,
    detach,
    get_current,
    set_value,
)
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from nexus_otel import _version
from nexus_otel._guard import guard, logger, new_lock, note_once, start_thread
from nexus_otel.export.hosted_json import request_of

DEFAULT_URL: Final = "https://nexus.keylightdigital.dev"
ROUTE: Final = create_key("nexus-otel-hosted")
"""Context key of the account that the traces which begin there belong to."""
_MOST_TRACES: Final = 1_000
_MOST_SPANS: Final = 20_000
"""Of one trace; what is more is left out and counted on the root."""
_MOST_WAITING: Final = 1_000
_TRIES_S: Final = (0.0, 1.0, 5.0, 30.0)
"""Seconds before each try of a request that has not reached anybody."""
_TIMEOUT_S: Final = 10.0
_AT_EXIT_MS: Final = 1_000
_TOLD: Final = {
    401: "the API key is not known",
    403: "the account has no room for a further agent",
    429: "the account's quota is used up",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Where the traces of one API key are sent.

    Attributes:
        key: The API key; never shown or stored.
        url: The whole address.
    """

    key: str = field(repr=False)
    url: str = DEFAULT_URL

    @classmethod
    def of(cls, key: str, base_url: str | None) -> Account:
        """Return the account of a key at a base URL, the service's usual one when not given."""
        parts = urlsplit(base_url or DEFAULT_URL)
        return cls(key, urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/v1/traces", query="", fragment="")))


@dataclass(slots=True)
class _Trace:
    """A trace that is going on.

    Attributes:
        account: Where it goes.
        open: Ids of its spans that have not ended.
        ended: Its spans that have.
        left_out: How many were too many.
    """

    account: Account
    open: set[int] = field(default_factory=set)
    ended: list[ReadableSpan] = field(default_factory=list)
    left_out: int = 0


class Hosted(SpanProcessor):
    """Gathers the runs of accounts, and sends each when nothing of it is open any more.

    Attributes:
        default: The account of every trace that belongs to no other.
        active: Whether there is any account.
    """

    def __init__(self) -> None:
        self.default: Account | None = None
        self.active = False
        self._lock = new_lock()
        self._traces: OrderedDict[int, _Trace] = OrderedDict()
        self._waiting: queue.Queue[tuple[Account, bytes]] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._refused: set[Account] = set()

    def use(self, account: Account | None) -> None:
        """Send every trace that belongs to no other account to this one."""
        self.default = account
        self.active = self.active or account is not None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if not self.active:
            return
        with guard("gathering a run for the hosted service"), self._lock:
            trace = self._traces.get(span.context.trace_id)
            if trace is None:
                account = (get_current() if parent_context is None else parent_context).get(ROUTE) or self.default
                if not isinstance(account, Account):
                    return
                trace = self._traces[span.context.trace_id] = _Trace(account)
                if len(self._traces) > _MOST_TRACES:
                    self._send(*self._traces.popitem(last=False))
            trace.open.add(span.context.span_id)

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if not self.active or context is None:
            return
        with guard("gathering a run for the hosted service"), self._lock:
            trace = self._traces.get(context.trace_id)
            if trace is None or context.span_id not in trace.open:
                return
            trace.open.discard(context.span_id)
            if len(trace.ended) < _MOST_SPANS:
                trace.ended.append(span)
            else:
                trace.left_out += 1
            if not trace.open:
                del self._traces[context.trace_id]
                self._send(context.trace_id, trace)

    def _send(self, trace_id: int, trace: _Trace) -> None:
        if not trace.ended or trace.account in self._refused:
            return
        body = request_of(trace_id, trace.ended, is_whole=not trace.open, left_out=trace.left_out)
        try:
            self._waiting.put_nowait((trace.account, body))
        except queue.Full:
            note_once(
                "hosted queue", "nexus-otel: too many runs wait for %s; they stay in the local store", trace.account.url
            )
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = start_thread("nexus-otel-hosted", self._work)

    def _work(self) -> None:
        while True:
            account, body = self._waiting.get()
            with guard("sending a run to the hosted service"):
                self._deliver(account, body, _TRIES_S)
            self._waiting.task_done()

    def _deliver(self, account: Account, body: bytes, waits_s: Sequence[float], timeout_s: float = _TIMEOUT_S) -> None:
        for wait_s in waits_s:
            if account in self._refused:
                return
            time.sleep(wait_s)
            status, text = _post(account, body, timeout_s)
            if status == 0:
                continue  # nobody was reached: it cannot have arrived
            if not 200 <= status < 300:  # noqa: PLR2004 - success
                self._told(account, status, text)
            return
        note_once(
            f"hosted {account.url}", "nexus-otel: %s cannot be reached; runs stay in the local store", account.url
        )

    def _told(self, account: Account, status: int, text: str) -> None:
        why = _TOLD.get(status, f"it answered with status {status}")
        logger.warning(
            "nexus-otel: %s: %s%s; runs stay in the local store", account.url, why, f" ({text})" if text else ""
        )
        if status in _TOLD:
            self._refused.add(account)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what has ended is sent."""
        limit = time.monotonic() + timeout_millis / 1_000
        while self._waiting.unfinished_tasks and time.monotonic() < limit:
            time.sleep(0.005)
        return not self._waiting.unfinished_tasks

    def shutdown(self) -> None:
        """Send what is left, as far as it has ended."""
        with guard("sending what is left to the hosted service"), self._lock:
            while self._traces:
                self._send(*self._traces.popitem(last=False))
        if self._thread is None:
            self._send_here(_AT_EXIT_MS / 1_000)
        self.force_flush(_AT_EXIT_MS)

    def _send_here(self, within_s: float) -> None:
        """Send on this thread, each run once: the interpreter is ending, and starts no other."""
        until = time.monotonic() + within_s
        while (left_s := until - time.monotonic()) > 0 and not self._waiting.empty():
            with guard("sending a run to the hosted service"):
                self._deliver(*self._waiting.get_nowait(), (0.0,), left_s)
            self._waiting.task_done()


hosted: Final = Hosted()
"""That of this process."""


def _post(account: Account, body: bytes, timeout_s: float) -> tuple[int, str]:
    """Return the status and the beginning of an answer's text; 0 where nobody was reached, -1 where that is unknown."""
    import urllib3

    token = attach(
        set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True, context=set_value("suppress_instrumentation", value=True))
    )
    headers = {
        "content-type": "application/json",
        "x-api-key": account.key,
        "user-agent": f"nexus-otel/{_version.__version__}",
    }
    try:
        with urllib3.PoolManager(maxsize=1) as pool:
            answer = pool.request(
                "POST", account.url, body=body, headers=headers, retries=False, redirect=False, timeout=timeout_s
            )
        return answer.status, " ".join(answer.data[:300].decode("utf-8", "replace").split())
    except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.SSLError):
        return 0, ""
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return -1, type(error).__name__
    finally:
        detach(token)
