"""One request over HTTP, and what the answer means."""

from __future__ import annotations

import gzip
import time
import zlib
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from nexus_otel import _version
from nexus_otel.export.answer import Answer, Outcome, reason, reason_json, rejected, rejected_json
from nexus_otel.export.destinations import JSON, Destination
from nexus_otel.export.otlp_json import request_json

_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_TOO_LARGE: Final = 413
_ANSWER_BYTES: Final = 65_536
_JSON_TYPE: Final = "application/json"


class HttpClient:
    """Speaks http/protobuf or http/json with one destination."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._is_json = destination.protocol == JSON
        self._pool: Any = None
        self._headers = {
            "user-agent": f"nexus-otel/{_version.__version__}",
            **destination.headers,
            "content-type": _JSON_TYPE if self._is_json else "application/x-protobuf",
        }
        if destination.compression != "none":
            self._headers["content-encoding"] = destination.compression

    def send(self, body: bytes, timeout_s: float) -> Answer:
        import urllib3

        try:
            return self._sent(request_json(self._destination.signal, body) if self._is_json else body, timeout_s)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Answer(Outcome.AGAIN, type(error).__name__)

    def close(self) -> None:
        """Leave the request that is under way: its timeout ends it, and the thread is a daemon."""

    def _sent(self, body: bytes, timeout_s: float) -> Answer:
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
        if _JSON_TYPE in response.headers.get("content-type", ""):
            left_out = rejected_json(text), reason_json(text)
        else:
            left_out = rejected(text), reason(text)
        return _answer(response.status, response.headers.get("retry-after"), left_out)


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


def _answer(status: int, retry_after: str | None, left_out: tuple[int, str]) -> Answer:
    what = f"status {status}"
    if 200 <= status < 300:  # noqa: PLR2004 - success
        return Answer(Outcome.DELIVERED, what, rejected=left_out[0], reason=left_out[1])
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
