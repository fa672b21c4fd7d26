"""One request to a destination, and what the answer means."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from nexus_otel import _version
from nexus_otel.export.destinations import Destination

_PLAIN_KEY: Final = "suppress_instrumentation"
"""The context key that older instrumentations look at."""
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_TOO_LARGE: Final = 413
_ANSWER_BYTES: Final = 65_536
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Outcome(Enum):
    """What became of a request."""

    DELIVERED = "delivered"
    AGAIN = "to be sent again soon"
    REFUSED = "refused; to be sent again later"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said.

    Attributes:
        outcome: What became of the request.
        what: The status, or the kind of failure, for a log line.
        wait_s: How long it asked us to wait; None when it did not.
        rejected: How many items of a delivered request it did not take.
    """

    outcome: Outcome
    what: str
    wait_s: float | None = None
    rejected: int = 0


class Transport:
    """The connection to one destination."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._pool: Any = None
        self._headers = {
            "user-agent": f"nexus-otel/{_version.__version__}",
            **destination.headers,
            "content-type": "application/x-protobuf",
        }
        if destination.compression != "none":
            self._headers["content-encoding"] = destination.compression

    def post(self, body: bytes, timeout_s: float) -> Answer:
        """Send a request and wait for the answer. Never raises for the network.

        Args:
            body: The request as protobuf.
            timeout_s: How long to wait at most, in seconds; the destination's own timeout may be shorter.
        """
        import urllib3

        context = set_value(_PLAIN_KEY, value=True)
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True, context=context))
        try:
            return self._posted(body, min(timeout_s, self._destination.timeout_s))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Answer(Outcome.AGAIN, type(error).__name__)
        finally:
            detach(token)

    def _posted(self, body: bytes, timeout_s: float) -> Answer:
        import urllib3

        if self._pool is None:
            self._pool = _pool(self._destination)
        response = self._pool.request(
            "POST",
            self._destination.url,
            body=_compressed(body, self._destination.compression),
            headers=self._headers,
            timeout=urllib3.Timeout(total=max(0.01, timeout_s)),
            redirect=False,
            retries=False,
            preload_content=False,
        )
        try:
            text = response.read(_ANSWER_BYTES)
        finally:
            if not response.isclosed():  # more than anybody wants to read
                response.close()
            response.release_conn()
        return _answer(response.status, response.headers.get("retry-after"), text)


def _pool(destination: Destination) -> Any:
    """Return a pool of one connection, through the proxy of the environment if there is one for the address."""
    import encodings.idna  # noqa: F401 - needed for host names, and not to be found at the interpreter's end
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    options: dict[str, Any] = {
        "maxsize": 1,
        "ca_certs": destination.certificate,
        "key_file": destination.client_key,
        "cert_file": destination.client_certificate,
    }
    parts = urlsplit(destination.url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    if not proxy:
        return urllib3.PoolManager(**options)
    login = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)


def _compressed(body: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(body, 6, mtime=0)
    return zlib.compress(body) if compression == "deflate" else body


def _answer(status: int, retry_after: str | None, text: bytes) -> Answer:
    what = f"status {status}"
    if 200 <= status < 300:  # noqa: PLR2004 - success
        return Answer(Outcome.DELIVERED, what, rejected=rejected(text))
    if status == _TOO_LARGE:
        return Answer(Outcome.TOO_LARGE, what)
    outcome = Outcome.AGAIN if status in _AGAIN else Outcome.REFUSED
    return Answer(outcome, what, wait_of(retry_after))


def wait_of(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which gives seconds or a date; None when it is no such thing."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


# -- partial success -----------------------------------------------------------------------------------------


def rejected(answer: bytes) -> int:
    """Return the number of rejected items in an Export*ServiceResponse: field 1 of its field 1."""
    try:
        partial = next((value for number, value in _fields(answer) if number == 1 and isinstance(value, bytes)), b"")
        return next((value for number, value in _fields(partial) if number == 1 and isinstance(value, int)), 0)
    except (IndexError, ValueError):
        return 0


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            number, position = _varint(data, position)
            yield tag >> 3, number
            continue
        if kind not in {_FIXED64, _BYTES, _FIXED32}:
            raise ValueError("not protobuf")
        size = 8 if kind == _FIXED64 else 4
        if kind == _BYTES:
            size, position = _varint(data, position)
        yield tag >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte
            return number, position
