"""The schema for ClickHouse, in ClickHouse's own engine: rows as the exporter inserts them, columns, views, what goes when.

Optional: needs chdb, which is large (`pip install chdb`).
"""

from __future__ import annotations

import json

import pytest

from tests.collector.kit import FOLDER

session = pytest.importorskip("chdb.session", reason="chdb is not installed")

INSERTED = (
    "Timestamp, TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName, ResourceAttributes, ScopeName,"
    " ScopeVersion, SpanAttributes, Duration, StatusCode, StatusMessage, Events.Timestamp, Events.Name, Events.Attributes,"
    " Links.TraceId, Links.SpanId, Links.TraceState, Links.Attributes"
)
"""The columns that the exporter names (contrib v0.161, internal/sqltemplates/traces_insert.sql)."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = session.Session(str(tmp_path_factory.mktemp("clickhouse")))
    text = (FOLDER / "clickhouse" / "schema.sql").read_text("utf-8")
    for statement in text.split(";\n"):
        if any(line.strip() and not line.startswith("--") for line in statement.splitlines()):
            opened.query(statement)
    yield opened
    opened.close()


def ask(store, query):
    return [json.loads(line) for line in str(store.query(query, "JSONEachRow")).splitlines()]


def insert(store, trace, span, parent="", *, ago="0 DAY", name="chat m", **attributes):
    pairs = ", ".join(f"'{key.replace('__', '.')}', '{value}'" for key, value in attributes.items())
    store.query(
        f"INSERT INTO otel.otel_traces ({INSERTED}) SELECT now64(9) - INTERVAL {ago}, '{trace}', '{span}', '{parent}', '',"
        f" '{name}', 'Internal', 'made', map('service.name', 'made'), 's', '1', map({pairs}), 2000000000, 'Unset',"
        " 'a message', [now64(9)], ['exception'], [map('exception.message', 'text')], [], [], [], []"
    )


def test_columns_are_made_of_attributes(store):
    insert(
        store, "t1", "s1", gen_ai__operation__name="chat", gen_ai__request__model="m", gen_ai__response__model="m-1",
        gen_ai__usage__input_tokens="1234", gen_ai__usage__output_tokens="x", gen_ai__conversation__id="c",
    )  # fmt: skip
    insert(
        store, "t1", "s2", "s1", name="execute_tool look", gen_ai__operation__name="execute_tool", gen_ai__tool__name="look",
        nexus__tool__call__arguments__hash="aa", nexus__tool__call__result__hash="bb", nexus__tool__failed="true",
    )  # fmt: skip
    first, second = ask(store, "SELECT * FROM otel.spans WHERE TraceId = 't1' ORDER BY SpanId")
    wanted = {"Operation": "chat", "Model": "m-1", "OutputTokens": 0, "ConversationId": "c", "ToolFailed": False}
    assert {name: first[name] for name in wanted} == wanted
    assert int(first["InputTokens"]) == 1234
    wanted = {"ToolName": "look", "ArgumentsHash": "aa", "ResultHash": "bb", "ToolFailed": True}
    assert {name: second[name] for name in wanted} == wanted


def test_a_span_that_came_twice_is_there_once(store):
    for _ in range(2):
        insert(
            store, "t2", "root", gen_ai__operation__name="invoke_agent", gen_ai__agent__name="a", nexus__keep="error"
        )
        insert(store, "t2", "step", "root", gen_ai__operation__name="chat", gen_ai__usage__input_tokens="10")
    assert len(ask(store, "SELECT SpanId FROM otel.otel_traces WHERE TraceId = 't2'")) == 4
    assert len(ask(store, "SELECT SpanId FROM otel.spans WHERE TraceId = 't2'")) == 2
    (run,) = ask(store, "SELECT Agent, Steps, toUInt32(Input) AS Input, Kept FROM otel.runs WHERE TraceId = 't2'")
    assert {name: int(value) if name in {"Steps", "Input"} else value for name, value in run.items()} == {
        "Agent": "a", "Steps": 1, "Input": 10, "Kept": "error",
    }  # fmt: skip


def test_content_goes_before_facts_and_facts_before_the_end(store):
    from nexus_otel import semconv

    content = {name.replace(".", "__"): "said" for name in semconv.CONTENT_ATTRIBUTES}
    for ago in ("1 DAY", "20 DAY", "100 DAY"):
        insert(store, f"old {ago}", "s", ago=ago, gen_ai__operation__name="chat", **content)
    store.query("OPTIMIZE TABLE otel.otel_traces FINAL")
    found = {row["TraceId"]: row for row in ask(store, "SELECT * FROM otel.spans WHERE startsWith(TraceId, 'old')")}
    assert set(found) == {"old 1 DAY", "old 20 DAY"}
    assert set(found["old 1 DAY"]["SpanAttributes"]) == {"gen_ai.operation.name", *semconv.CONTENT_ATTRIBUTES}
    old = found["old 20 DAY"]
    assert old["SpanAttributes"] == {"gen_ai.operation.name": "chat"}
    assert (old["Operation"], old["StatusMessage"], old["Events.Attributes"]) == ("chat", "", [])
