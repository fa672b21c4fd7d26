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
from nexus_otel.config import SettingError
from nexus_otel.export.segment import Target

SIGNALS: Final = ("traces", "logs", "metrics")
HTTP, JSON, GRPC = "http/protobuf", "http/json", "grpc"
PROTOCOLS: Final = (HTTP, JSON, GRPC)
DEFAULT_ENDPOINT: Final = "http://localhost:4318"
DEFAULT_GRPC_ENDPOINT: Final = "http://localhost:4317"
DEFAULT_TIMEOUT_S: Final = 10.0
_GRPC_PORTS: Final = {"http": 4317, "https": 443}
_COMPRESSIONS: Final = ("none", "gzip", "deflate")


@dataclass(frozen=True, slots=True)
class Destination:
    """A collector's address for one signal, and how to talk to it.

    Attributes:
        signal: traces, logs or metrics.
        url: The whole address, without user and password; for gRPC scheme, host and port.
        headers: Sent with every request. They hold keys: they are never stored or shown.
        timeout_s: How long a request may take, in seconds.
        compression: none, gzip or deflate.
        certificate: A file with the certificates to trust.
        client_key: A file with our key.
        client_certificate: A file with our certificate.
        protocol: http/protobuf, http/json or grpc.
    """

    signal: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    timeout_s: float = DEFAULT_TIMEOUT_S
    compression: str = "none"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    protocol: str = HTTP

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
    address = _address(signal, default=default)
    if address is None:
        return None
    protocol = _protocol(signal)
    url = _grpc_url(*address, insecure=_insecure(signal)) if protocol == GRPC else _url(signal, *address)
    return Destination(
        signal, url, _login(address[1]) | _headers(signal, protocol), _timeout(signal), _compression(signal),
        _file(signal, "CERTIFICATE"), _file(signal, "CLIENT_KEY"), _file(signal, "CLIENT_CERTIFICATE"), protocol,
    )  # fmt: skip


def destinations(*, default: bool = False) -> list[Destination]:
    """Return the destinations of all signals; `default` as for one of them.

    Raises:
        SettingError: A variable has none of its values.
    """
    found = (destination(signal, default=default) for signal in SIGNALS)
    return [one for one in found if one is not None]


def in_force(signal: str, what: str) -> tuple[str, str | None]:
    """Return the name and value of the variable in force; the signal's own wins. A value may hold keys.

    Args:
        signal: traces, logs or metrics.
        what: As for `config.otlp_variable`.
    """
    own, general = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"
    is_own = variables().get(own, "").strip()
    return own if is_own else general, config.otlp_variable(signal.upper(), what)


def _address(signal: str, *, default: bool) -> tuple[str, str] | None:
    """Return the name and value of the endpoint's variable; the standard's endpoint as `default`."""
    name, value = in_force(signal, "ENDPOINT")
    if value is None and default:
        value = DEFAULT_GRPC_ENDPOINT if _protocol(signal) == GRPC else DEFAULT_ENDPOINT
    return None if value is None else (name, value)


def _protocol(signal: str) -> str:
    name, value = in_force(signal, "PROTOCOL")
    protocol = (value or HTTP).lower()
    if protocol not in PROTOCOLS:
        raise SettingError(f"{name}={value!r}: expected {', '.join(PROTOCOLS)}")
    return protocol


def _url(signal: str, name: str, value: str) -> str:
    """Return an address for HTTP, without user and password; the general one gets the signal's path."""
    parts = _parts(name, value, value, DEFAULT_ENDPOINT)
    if signal.upper() not in name:
        parts = parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}")
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=address, path=parts.path or "/"))


def _grpc_url(name: str, value: str, *, insecure: bool) -> str:
    """Return scheme, host and port. The scheme says whether there is TLS, and `insecure` where there is no scheme."""
    whole = value if "://" in value else f"{'http' if insecure else 'https'}://{value}"
    parts = _parts(name, value, whole, f"{DEFAULT_GRPC_ENDPOINT} or localhost:4317")
    if whole != value and parts.path:  # such as unix:/run/socket
        raise SettingError(f"{name}={_shown(value)!r}: expected an address such as localhost:4317")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _GRPC_PORTS[parts.scheme]}"


def _insecure(signal: str) -> bool:
    name, value = in_force(signal, "INSECURE")
    if (value or "false").lower() not in {"true", "false"}:
        raise SettingError(f"{name}={value!r}: expected true, false")
    return (value or "").lower() == "true"


def _parts(name: str, value: str, whole: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(whole)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingError(f"{name}={_shown(value)!r}: expected an address such as {example}")
    return parts


def _shown(value: str) -> str:
    return value.rpartition("@")[2].partition("?")[0]


def _login(value: str) -> dict[str, str]:
    """Return the header that stands for user and password in an address."""
    parts = urlsplit(value if "://" in value else f"//{value}")
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def _headers(signal: str, protocol: str) -> dict[str, str]:
    """Return the headers of a list `name=value,...`, values URL-encoded (W3C Baggage without properties)."""
    is_name = _is_metadata if protocol == GRPC else _is_token
    name, value = in_force(signal, "HEADERS")
    headers: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in (value or "").split(","))):
        key, found, text = pair.partition("=")
        key, text = unquote(key).strip().lower(), unquote(text).strip()
        if not found or not is_name(key) or not text.isprintable() or (protocol == GRPC and not text.isascii()):
            raise SettingError(f"{name}: expected name=value, a comma between two, values URL-encoded")
        headers[key] = text
    return headers


def _is_token(key: str) -> bool:
    return key.isascii() and bool(key) and all(one.isalnum() or one in "!#$%&'*+-.^_`|~" for one in key)


def _is_metadata(key: str) -> bool:
    return _is_token(key) and not set(key) & set("!#$%&'*+^`|~")


def _timeout(signal: str) -> float:
    name, value = in_force(signal, "TIMEOUT")
    try:
        seconds = float(value) if value is not None else DEFAULT_TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingError(f"{name}={value!r}: expected seconds, more than 0")
    return seconds


def _compression(signal: str) -> str:
    name, value = in_force(signal, "COMPRESSION")
    compression = (value or "none").lower()
    if compression not in _COMPRESSIONS:
        raise SettingError(f"{name}={value!r}: expected {', '.join(_COMPRESSIONS)}")
    return compression


def _file(signal: str, what: str) -> str | None:
    name, value = in_force(signal, what)
    if value is not None and not Path(value).is_file():
        raise SettingError(f"{name}={value!r}: expected a file in PEM format")
    return value
