"""Where telemetry is sent: the standard `OTEL_EXPORTER_OTLP_*` variables, read and checked."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from nexus_otel import config
from nexus_otel._environ import variables
from nexus_otel._guard import note_once
from nexus_otel.config import SettingError
from nexus_otel.export.segment import Target

SIGNALS: Final = ("traces", "logs", "metrics")
DEFAULT_ENDPOINT: Final = "http://localhost:4318"
DEFAULT_TIMEOUT_S: Final = 10.0
_COMPRESSIONS: Final = ("none", "gzip", "deflate")
_PROTOCOLS: Final = ("http/protobuf", "http/json", "grpc")
_GRPC_PORT: Final = 4317


@dataclass(frozen=True, slots=True)
class Destination:
    """A collector's address for one signal, and how to talk to it.

    Attributes:
        signal: traces, logs or metrics.
        url: The whole address, without user and password.
        headers: Sent with every request. They hold keys: they are never stored or shown.
        timeout_s: How long a request may take, in seconds.
        compression: none, gzip or deflate.
        certificate: A file with the certificates to trust.
        client_key: A file with our key.
        client_certificate: A file with our certificate.
    """

    signal: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    timeout_s: float = DEFAULT_TIMEOUT_S
    compression: str = "none"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None

    @property
    def endpoint(self) -> str:
        """The address as it may be shown and stored: without the query."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))

    @property
    def target(self) -> Target:
        """What may be stored of it."""
        names = "\n".join(sorted(name.lower() for name in self.headers))
        return Target(self.signal, self.endpoint, blake2b(names.encode(), digest_size=8).hexdigest())


def destination(signal: str, *, default: bool = False) -> Destination | None:
    """Return where a signal goes; None when no endpoint is set.

    Args:
        signal: traces, logs or metrics, in either case.
        default: Whether the standard's endpoint on this machine is taken when none is set.

    Raises:
        SettingError: A variable has none of its values.
    """
    signal = signal.lower()
    found = _url(signal, default=default)
    if found is None:
        return None
    url, headers = found
    _check_protocol(signal, urlsplit(url))
    return Destination(
        signal, url, headers | _headers(signal), _timeout(signal), _compression(signal),
        _file(signal, "CERTIFICATE"), _file(signal, "CLIENT_KEY"), _file(signal, "CLIENT_CERTIFICATE"),
    )  # fmt: skip


def destinations(*, default: bool = False) -> list[Destination]:
    """Return the destinations of all signals; `default` as for one of them.

    Raises:
        SettingError: A variable has none of its values.
    """
    found = (destination(signal, default=default) for signal in SIGNALS)
    return [one for one in found if one is not None]


def _variable(signal: str, what: str) -> tuple[str, str | None]:
    """Return the name and value of the variable in force; the signal's own wins."""
    own, general = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"
    is_own = variables().get(own, "").strip()
    return own if is_own else general, config.otlp_variable(signal.upper(), what)


def _url(signal: str, *, default: bool) -> tuple[str, dict[str, str]] | None:
    """Return the address without user and password, and the header that stands for those."""
    name, value = _variable(signal, "ENDPOINT")
    if value is None:
        return (f"{DEFAULT_ENDPOINT}/v1/{signal}", {}) if default else None
    parts = _parts(name, value)
    if signal.upper() not in name:
        parts = parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}")
    address = parts.netloc.rpartition("@")[2]
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    return urlunsplit(parts._replace(netloc=address, path=parts.path or "/")), headers


def _parts(name: str, value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        shown = value.rpartition("@")[2].partition("?")[0]
        raise SettingError(f"{name}={shown!r}: expected an address such as {DEFAULT_ENDPOINT}")
    return parts


def _check_protocol(signal: str, url: SplitResult) -> None:
    name, value = _variable(signal, "PROTOCOL")
    protocol = (value or _PROTOCOLS[0]).lower()
    if protocol not in _PROTOCOLS:
        raise SettingError(f"{name}={value!r}: expected http/protobuf")
    hint = "; port 4317 takes gRPC, http/protobuf is usually on 4318" if url.port == _GRPC_PORT else ""
    if protocol != _PROTOCOLS[0]:
        note_once(
            "choosing the protocol", "nexus-otel: %s=%s: only http/protobuf is spoken and used%s", name, value, hint
        )
    elif hint:
        note_once(
            "choosing the port", "nexus-otel: the endpoint%s", hint.replace("; port 4317", " has port 4317, which")
        )


def _headers(signal: str) -> dict[str, str]:
    """Return the headers of a list `name=value,...`, values URL-encoded (W3C Baggage without properties)."""
    name, value = _variable(signal, "HEADERS")
    headers: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in (value or "").split(","))):
        key, found, text = pair.partition("=")
        key, text = unquote(key).strip().lower(), unquote(text).strip()
        if not found or not _is_token(key) or not text.isprintable():
            raise SettingError(f"{name}: expected name=value, a comma between two, values URL-encoded")
        headers[key] = text
    return headers


def _is_token(key: str) -> bool:
    return key.isascii() and bool(key) and all(one.isalnum() or one in "!#$%&'*+-.^_`|~" for one in key)


def _timeout(signal: str) -> float:
    name, value = _variable(signal, "TIMEOUT")
    try:
        seconds = float(value) if value is not None else DEFAULT_TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingError(f"{name}={value!r}: expected seconds, more than 0")
    return seconds


def _compression(signal: str) -> str:
    name, value = _variable(signal, "COMPRESSION")
    compression = (value or "none").lower()
    if compression not in _COMPRESSIONS:
        raise SettingError(f"{name}={value!r}: expected {', '.join(_COMPRESSIONS)}")
    return compression


def _file(signal: str, what: str) -> str | None:
    name, value = _variable(signal, what)
    if value is not None and not Path(value).is_file():
        raise SettingError(f"{name}={value!r}: expected a file in PEM format")
    return value
