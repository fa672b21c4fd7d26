"""Traces in a ClickHouse, in the table of the collector's exporter (contrib v0.165, `otel_traces`).

Attribute values are texts there: those that our detectors and commands count with get their types back, by name.
A span that was delivered twice is read once (`LIMIT 1 BY TraceId, SpanId`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import orjson

from nexus_otel import semconv
from nexus_otel._environ import variables
from nexus_otel.config import NexusError
from nexus_otel.export.read import StoredEvent, StoredLink, StoredSpan

SCHEMES: Final = {"clickhouse": (False, 8123), "clickhouses": (True, 8443)}
"""Whether by TLS, and the usual port of the HTTP interface."""
_TABLE: Final = "otel_traces"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CONNECT_S: Final = 10
_ANSWER_S: Final = 120
_NUMBER: Final = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?")


class UnreachableError(NexusError):
    """A ClickHouse cannot be asked: nobody is there, it refuses, or it has no such table."""


class Port(Protocol):
    """Whoever runs SQL."""

    def run(self, query: str, params: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of a query whose values stand as `{name:Type}` in it.

        Raises:
            UnreachableError: It was not answered.
        """


@dataclass(frozen=True, slots=True)
class Address:
    """Where a table is.

    Attributes:
        password: Never shown.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    table: str
    secure: bool

    @classmethod
    def of(cls, text: str) -> Address:
        """Read `clickhouse://user:password@host:port/database?table=otel_traces`.

        Without a password there, that of `CLICKHOUSE_PASSWORD` is taken, which no list of processes shows.

        Raises:
            UnreachableError: It is no such address.
        """
        parts = urlsplit(text)
        secure, usual = SCHEMES.get(parts.scheme, (False, 0))
        port = _port(parts, usual)
        database = unquote(parts.path.strip("/")) or "default"
        table = parse_qs(parts.query).get("table", [_TABLE])[0]
        names = _NAME.fullmatch(database) and _NAME.fullmatch(table)
        if not usual or not port or not parts.hostname or not names:
            raise UnreachableError(
                f"--store {shown(text)}: expected a file, a folder, or clickhouse://user@host:8123/database?table={_TABLE}"
            )
        user = unquote(parts.username or "default")
        password = unquote(parts.password) if parts.password else variables().get("CLICKHOUSE_PASSWORD", "")
        return cls(parts.hostname, port, user, password, database, table, secure)

    def __str__(self) -> str:
        """Return it without the password."""
        return f"clickhouse{'s' * self.secure}://{self.host}:{self.port}/{self.database}?table={self.table}"

    @property
    def quoted(self) -> str:
        """The table, for SQL."""
        return f"`{self.database}`.`{self.table}`"


def _port(parts: SplitResult, usual: int) -> int | None:
    try:
        return parts.port or usual
    except ValueError:
        return None


def shown(text: str) -> str:
    """Return an address without user and password."""
    return re.sub(r"//.*@", "//", text, flags=re.DOTALL)


def connected(address: Address) -> Port:
    """Return a connection to a server.

    Raises:
        UnreachableError: There is none, or clickhouse-connect is not installed.
    """
    try:
        import clickhouse_connect
    except ImportError:
        raise UnreachableError(
            "reading from ClickHouse needs clickhouse-connect: pip install 'nexus-otel[clickhouse]'"
        ) from None
    for name in ("clickhouse_connect", "urllib3"):  # what is wrong is said once, by us
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def made() -> Any:
        return clickhouse_connect.get_client(
            host=address.host, port=address.port, username=address.user, password=address.password,
            database=address.database, secure=address.secure, autogenerate_session_id=False,
            connect_timeout=_CONNECT_S, send_receive_timeout=_ANSWER_S, client_name="nexus-otel",
        )  # fmt: skip

    return _Server(address, _asked(address, made))


class _Server:
    """A server, asked by clickhouse-connect."""

    def __init__(self, address: Address, client: Any) -> None:
        self._address = address
        self._client = client

    def run(self, query: str, params: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        result = _asked(self._address, lambda: self._client.query(query, parameters=dict(params)))
        rows: Sequence[Sequence[Any]] = result.result_rows
        return rows


def _asked(address: Address, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - of the client, of what it uses, of the network: all mean the same here
        raise UnreachableError(f"{address}: {_why(error, address)}") from None


def _why(error: Exception, address: Address) -> str:
    """Return in a few words what a server or the way to it said, without the password."""
    text = " ".join(str(error).split()) or type(error).__name__
    found = re.search(r"DB::Exception: (.*)", text)
    text = found[1] if found else text
    if "UNKNOWN_TABLE" in text or "UNKNOWN_DATABASE" in text:
        text = f"there is no table {address.database}.{address.table}"
    elif "UNKNOWN_IDENTIFIER" in text:
        text = f"{address.database}.{address.table} is not a table of the collector's exporter: {text}"
    elif "AUTHENTICATION_FAILED" in text:
        text = f"user {address.user} is not let in"
    elif "refused" in text or "resolve" in text or "timed out" in text or "unreachable" in text.lower():
        text = f"no answer ({text})"
    if address.password:
        text = text.replace(address.password, "...")
    return text[:300]


# -- what is asked -----------------------------------------------------------------------------------------------------

_COLUMNS: Final = """TraceId, SpanId, ParentSpanId, SpanName, SpanKind, toUnixTimestamp64Nano(Timestamp), Duration,
StatusCode, StatusMessage, ScopeName, ScopeVersion, SpanAttributes, ResourceAttributes,
arrayMap(time -> toUnixTimestamp64Nano(time), Events.Timestamp), Events.Name, Events.Attributes,
Links.TraceId, Links.SpanId, Links.Attributes"""

_TIES: Final = f"Duration, SpanAttributes['{semconv.TOOL_CALL_ID}']"
"""What orders spans that began at once, as tool calls known from messages do."""


class Conditions:
    """What must be true of the traces that are listed: SQL, and the values in it."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._where = ["TraceId != ''"]
        self.params: dict[str, Any] = {}

    def since(self, earliest_ns: int) -> None:
        """Only spans from a moment on."""
        if earliest_ns:
            self._where.append(f"Timestamp >= fromUnixTimestamp64Nano({self._param(earliest_ns)})")

    def failed(self) -> None:
        """Only traces in which a span failed."""
        self._have("StatusCode = 'Error'")

    def have(self, names: Iterable[str], value: str, columns: Iterable[str] = ()) -> None:
        """Only traces with a value in one of the attributes of a span or its resource, or in one of the columns."""
        self._have(" OR ".join(self._is(text, value) for text in self._texts(names, columns)))

    def begin(self, names: Iterable[str], beginnings: Sequence[str], columns: Iterable[str] = ()) -> None:
        """Only traces in which one of these begins so."""
        params = [self._param(one) for one in beginnings]
        texts = self._texts(names, columns)
        self._have(" OR ".join(f"startsWith({text}, {param})" for text in texts for param in params))

    def _texts(self, names: Iterable[str], columns: Iterable[str]) -> list[str]:
        maps = ("SpanAttributes", "ResourceAttributes")
        return [f"{of}[{self._param(name)}]" for name in names for of in maps] + list(columns)

    def __str__(self) -> str:
        return " AND ".join(self._where)

    def _have(self, condition: str) -> None:
        self._where.append(f"TraceId IN (SELECT TraceId FROM {self._table} WHERE {self._where[0]} AND ({condition}))")

    def _is(self, text: str, value: str) -> str:
        """A text, a truth value in any case, a number in any form, or an item of a list, which is JSON."""
        param = self._param(value)
        either = [f"lower({text}) = lower({param})", f"(startsWith({text}, '[') AND position({text}, {param}) > 0)"]
        if _NUMBER.fullmatch(value):
            either.append(f"toFloat64OrNull({text}) = {float(value)!r}")
        return f"({' OR '.join(either)})"

    def _param(self, value: str | int) -> str:
        known = next((name for name, one in self.params.items() if one == value and type(one) is type(value)), None)
        name = known or f"p{len(self.params)}"
        self.params[name] = value
        return f"{{{name}:{'Int64' if isinstance(value, int) else 'String'}}}"


class Traces:
    """The traces of a table."""

    def __init__(self, port: Port, table: str) -> None:
        self._port = port
        self._table = table

    def newest(self, conditions: Conditions, page: int) -> Iterator[tuple[str, int]]:
        """Yield the id of each trace and the latest start of a span of it in nanoseconds, newest first.

        Args:
            conditions: Which.
            page: How many to ask for at a time.
        """
        last: tuple[str, int] | None = None
        while True:
            params = dict(conditions.params)
            behind = ""
            if last is not None:
                params |= {"last_id": last[0], "last_ns": last[1]}
                behind = "HAVING (newest, TraceId) < ({last_ns:Int64}, {last_id:String})"
            rows = self._port.run(
                f"SELECT TraceId, max(toUnixTimestamp64Nano(Timestamp)) AS newest FROM {self._table} "
                f"WHERE {conditions} GROUP BY TraceId {behind} ORDER BY newest DESC, TraceId DESC LIMIT {page}",
                params,
            )
            for trace_id, newest in rows:
                last = str(trace_id), int(newest)
                yield last
            if len(rows) < page:
                return

    def beginning(self, beginning: str, most: int = 100) -> list[str]:
        """Return the ids of traces that begin so."""
        return self._ids("startsWith(TraceId, {value:String})", beginning, most)

    def with_span(self, beginning: str, most: int = 100) -> list[str]:
        """Return the ids of traces with a span whose id begins so."""
        return self._ids("startsWith(SpanId, {value:String})", beginning, most)

    def _ids(self, condition: str, value: str, most: int) -> list[str]:
        query = f"SELECT DISTINCT TraceId FROM {self._table} WHERE {condition} ORDER BY TraceId LIMIT {most}"
        return [str(row[0]) for row in self._port.run(query, {"value": value})]

    def read(self, trace_ids: Sequence[str]) -> list[StoredSpan]:
        """Return the spans of traces, each once, by start."""
        if not trace_ids:
            return []
        params = {f"t{number}": trace_id for number, trace_id in enumerate(trace_ids)}
        names = ", ".join(f"{{{name}:String}}" for name in params)
        rows = self._port.run(
            f"SELECT {_COLUMNS} FROM {self._table} WHERE TraceId IN ({names}) "
            f"ORDER BY Timestamp, TraceId, {_TIES}, SpanId LIMIT 1 BY TraceId, SpanId",
            params,
        )
        return [_span(row) for row in rows]


# -- as Python values --------------------------------------------------------------------------------------------------

_SPAN_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUS: Final = {"Ok": 1, "Error": 2}


def _span(row: Sequence[Any]) -> StoredSpan:
    trace_id, span_id, parent_id, name, kind, start_ns, duration_ns, status, message, scope, version = row[:11]
    attributes, resource, times, names, of_events, link_traces, link_spans, of_links = row[11:]
    return StoredSpan(
        trace_id=str(trace_id),
        span_id=str(span_id),
        parent_id=str(parent_id),
        name=str(name),
        kind=_SPAN_KINDS.index(kind) if kind in _SPAN_KINDS else 0,
        start_ns=int(start_ns),
        end_ns=int(start_ns) + int(duration_ns),
        attributes=_attributes(attributes),
        events=[StoredEvent(*one) for one in zip(names, map(int, times), map(_attributes, of_events), strict=True)],
        links=[StoredLink(*one) for one in zip(link_traces, link_spans, map(_attributes, of_links), strict=True)],
        status=_STATUS.get(str(status), 0),
        status_message=str(message),
        scope=str(scope),
        scope_version=str(version),
        resource=dict(resource),
    )


def _attributes(values: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(name, text) for name, text in values.items()}


_KINDS: Final[dict[str, str]] = {
    **{name: own.kind for name, own in semconv.OWN.items()},
    **dict.fromkeys(
        (semconv.REQUEST_MAX_TOKENS, semconv.REQUEST_TOP_K, semconv.REQUEST_SEED, semconv.REQUEST_CHOICES,
         semconv.SERVER_PORT, semconv.STATUS_CODE, semconv.EMBEDDING_DIMENSIONS, semconv.RETRIEVAL_TOP_K,
         semconv.RETRY_CAUSE), "int",
    ),
    **dict.fromkeys(
        (semconv.REQUEST_TEMPERATURE, semconv.REQUEST_TOP_P, semconv.REQUEST_FREQUENCY_PENALTY,
         semconv.REQUEST_PRESENCE_PENALTY, semconv.RESPONSE_FIRST_CHUNK), "double",
    ),
    **dict.fromkeys(
        (semconv.REQUEST_STOP_SEQUENCES, semconv.RESPONSE_FINISH_REASONS, semconv.ENCODING_FORMATS), "string[]"
    ),
}  # fmt: skip
"""The types of attributes that are numbers or lists; what others were is not known, and a text does."""
_TRUTHS: Final = {"true": True, "false": False}
_COUNTS: Final = ("gen_ai.usage.", "llm.token_count.", "llm.usage.")
"""Beginnings of names of counts, also those of OpenInference and OpenLLMetry."""


def _value(name: str, text: str) -> Any:
    kind = _KINDS.get(name) or ("int" if name.startswith(_COUNTS) else "string")
    try:
        match kind:
            case "int":
                return int(text)
            case "double":
                return float(text)
            case "string[]":
                found = orjson.loads(text)
                return found if isinstance(found, list) else text
            case _:
                return text if name in semconv.CONTENT_ATTRIBUTES else _TRUTHS.get(text, text)
    except ValueError:
        return text
