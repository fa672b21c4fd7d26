"""Why a destination takes nothing: not there, another protocol, TLS, the path, the key. Asked by `doctor` alone."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from nexus_otel._guard import quietly
from nexus_otel.export.answer import Answer
from nexus_otel.export.destinations import GRPC, JSON, Destination

_WAIT_S: Final = 2.0
_ASKING: Final = {
    "HTTP/1": b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
}
"""What a client says first; in HTTP/2 (RFC 9113, 3.4) with empty settings: a server of gRPC answers with its own."""
_SETTINGS_FRAME: Final = b"\4"
_ENOUGH: Final = 9
"""The bytes of a frame's header."""
_PORTS: Final = {"http": 80, "https": 443}
_KEY: Final = frozenset({"status 401", "status 403", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_PATH: Final = frozenset({"status 404", "status 405"})
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_FILES: Final = "check OTEL_EXPORTER_OTLP_CERTIFICATE, and CLIENT_CERTIFICATE and CLIENT_KEY if there are"
_LOG: Final = "see what its log says"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a destination takes nothing.

    Attributes:
        kind: unknown_host, unreachable, silent, tls, protocol, path, key or other.
        what: The same in words.
        remedy: What to do.
    """

    kind: str
    what: str
    remedy: str


def cause(one: Destination, answer: Answer) -> Cause:
    """Return why a destination did not take a request.

    Args:
        one: The destination, which is connected to a few times more.
        answer: What it said.
    """
    if answer.what in _KEY:
        return _key(one, answer)
    if answer.what in _PATH:
        return Cause("path", f"there is nothing at {urlsplit(one.url).path or '/'} ({answer.what})", _whole(one))
    if answer.what == "status 415":
        other = "http/protobuf" if one.protocol == JSON else "http/json"
        return Cause("protocol", f"it does not take {one.protocol} ({answer.what})", _speak(other))
    return _connected(one, answer) or Cause("other", f"it answers {answer.what}", _LOG)


def _key(one: Destination, answer: Answer) -> Cause:
    if not one.headers:
        return Cause("key", f"it asks for a key ({answer.what})", "set OTEL_EXPORTER_OTLP_HEADERS")
    what = f"it refuses the key, which is wrong or has expired ({answer.what})"
    return Cause("key", what, "renew the key in OTEL_EXPORTER_OTLP_HEADERS")


def _whole(one: Destination) -> str:
    own = f"OTEL_EXPORTER_OTLP_{one.signal.upper()}_ENDPOINT"
    return f"{_ENDPOINT} is the base, to which /v1/{one.signal} is added; {own} is the whole address"


def _speak(protocol: str) -> str:
    return f"set OTEL_EXPORTER_OTLP_PROTOCOL={protocol}"


# -- by connecting -----------------------------------------------------------------------------------------------------


def _connected(one: Destination, answer: Answer) -> Cause | None:
    """Say what is found by connecting; None where that explains nothing."""
    parts = urlsplit(one.url)
    if one.protocol != GRPC and not proxy_bypass(parts.hostname or "") and parts.scheme in getproxies():
        return Cause("other", f"through the environment's proxy: {answer.what}", "see whether the proxy lets it by")
    try:
        _connection(parts).close()
    except socket.gaierror:
        return Cause("unknown_host", f"the host {parts.hostname} is not known", f"correct {_ENDPOINT}")
    except TimeoutError:
        what = f"{parts.netloc} cannot be reached within {_WAIT_S:.0f} s"
        return Cause("unreachable", what, f"look for a firewall, or correct {_ENDPOINT}")
    except OSError as error:
        what = f"nothing listens on {parts.netloc} ({_said(error)})"
        return Cause("unreachable", what, f"start a collector there, or correct {_ENDPOINT}")
    return _encrypted(one, answer) if parts.scheme == "https" else _in_plain_text(one, answer)


def _connection(parts: SplitResult) -> socket.socket:
    return socket.create_connection((parts.hostname or "", parts.port or _PORTS[parts.scheme]), _WAIT_S)


def _said(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__


def _encrypted(one: Destination, answer: Answer) -> Cause | None:
    """Shake hands as the exporter does."""
    parts = urlsplit(one.url)
    if _is_status(answer):
        return None
    try:
        context = _context(one)
    except OSError as error:
        return Cause("tls", f"certificates cannot be read ({_said(error)})", _FILES)
    try:
        with _connection(parts) as plain, context.wrap_socket(plain, server_hostname=parts.hostname) as secure:
            return _other_protocol(one, secure) or _silent(answer)
    except ssl.SSLCertVerificationError as error:
        remedy = "set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of the authority that issued it"
        if "match" in error.verify_message:
            remedy = f"name the host in {_ENDPOINT} as its certificate does"
        return Cause("tls", f"its certificate is not accepted: {error.verify_message}", remedy)
    except TimeoutError:
        return _silent(answer)
    except OSError as error:
        if not quietly(_shakes_hands, parts) and any(quietly(_is_spoken, parts, version) for version in _ASKING):
            insecure = ", and OTEL_EXPORTER_OTLP_INSECURE=true" if one.protocol == GRPC else ""
            return Cause("tls", "it speaks no TLS", f"write http:// in {_ENDPOINT}{insecure}")
        asked = "it asks for a certificate of ours" if "CERTIFICATE_REQUIRED" in _said(error) else "TLS fails"
        return Cause("tls", f"{asked} ({_said(error)})", _FILES)


def _context(one: Destination) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=one.certificate)
    context.set_alpn_protocols(["h2"] if one.protocol == GRPC else ["http/1.1"])
    if one.client_certificate:
        context.load_cert_chain(one.client_certificate, one.client_key)
    return context


def _in_plain_text(one: Destination, answer: Answer) -> Cause | None:
    parts = urlsplit(one.url)
    if quietly(_shakes_hands, parts):
        return Cause("tls", "it speaks TLS", f"write https:// in {_ENDPOINT}")
    if _is_status(answer):
        return None
    with quietly(_connection, parts) or socket.socket() as plain:
        return quietly(_other_protocol, one, plain) or _silent(answer)


def _is_status(answer: Answer) -> bool:
    return answer.what.startswith("status ")


def _shakes_hands(parts: SplitResult) -> bool:
    """Whether there is TLS, whoever it is.

    Raises:
        OSError: There is not.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent
    with _connection(parts) as plain, context.wrap_socket(plain):
        return True


def _other_protocol(one: Destination, connection: socket.socket) -> Cause | None:
    """Say whether the other of the two protocols is spoken on a new connection.

    Raises:
        OSError: The connection broke, or nothing came in time.
    """
    if one.protocol == GRPC:
        if not _speaks(connection, "HTTP/1"):
            return None
        remedy = f"{_speak('http/protobuf')}, or name the port for gRPC (usually 4317)"
        return Cause("protocol", "it speaks HTTP, not gRPC", remedy)
    if not _speaks(connection, "HTTP/2"):
        return None
    remedy = f"{_speak('grpc')}, or name the port for HTTP (usually 4318)"
    return Cause("protocol", f"it speaks gRPC, not {one.protocol}", remedy)


def _silent(answer: Answer) -> Cause | None:
    """Return what it means that there is no answer; None where there is one."""
    if "Timeout" in answer.what or answer.what == "DEADLINE_EXCEEDED":
        return Cause("silent", f"it takes connections, but gives no answer within {_WAIT_S:.0f} s", _LOG)
    if answer.what == "UNAVAILABLE" or answer.what.endswith("Error"):
        return Cause("silent", f"it takes connections, but ends them without an answer ({answer.what})", _LOG)
    return None


def _is_spoken(parts: SplitResult, version: str) -> bool:
    with _connection(parts) as plain:
        return _speaks(plain, version)


def _speaks(connection: socket.socket, version: str) -> bool:
    """Say whether a version of HTTP is spoken on a new connection.

    Raises:
        OSError: The connection broke, or nothing came in time.
    """
    connection.settimeout(_WAIT_S)
    connection.sendall(_ASKING[version])
    answer = b""
    while len(answer) < _ENOUGH and (more := connection.recv(64)):
        answer += more
    return answer.startswith(b"HTTP/1") if version == "HTTP/1" else answer[3:4] == _SETTINGS_FRAME
