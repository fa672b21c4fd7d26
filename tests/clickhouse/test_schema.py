"""The collector's schema in ClickHouse's own engine: what the exporter inserts, columns, views, and what goes when."""

from __future__ import annotations

import json

import pytest

from tests.collector.kit import FOLDER, QUICK, Collector, built, soon
from tests.collector.made import Made, agent

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


def test_what_a_real_collector_inserts_is_there(store, tmp_path):
    from tests.clickhouse.inserting import Inserted

    look = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look", "nexus.tool.failed": True}
    run = agent(
        1500,
        Made(
            attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 1234}
        ),
        Made("execute_tool look", 30, failed=True, attributes=look, events=[{"exception.message": "text"}]),
        gen_ai__agent__name="made",
        nexus__keep="finding: tool_error",
    )
    with Inserted(store, tmp_path) as server:
        more = "exporters: {clickhouse: {compress: none, sending_queue: {batch: {flush_timeout: 200ms}}}}"
        given = {**QUICK, "NEXUS_CLICKHOUSE": server.url}
        tiers = [FOLDER / "clickhouse.yaml"]
        with Collector(built("manifest-full.yaml"), tmp_path / "c", given, tiers=tiers, more=more) as collector:
            assert collector.post(run.request())
            soon(lambda: server.inserts)
    (found,) = [row for row in ask(store, "SELECT * FROM otel.runs") if row["TraceId"] == run.trace_id]
    numbers = {name: int(found[name]) for name in ("Steps", "ToolCalls", "ToolErrors", "Input", "Nanoseconds")}
    assert numbers == {"Steps": 1, "ToolCalls": 1, "ToolErrors": 1, "Input": 1234, "Nanoseconds": 1_500_000_000}
    assert (found["Agent"], found["Kept"], found["Service"]) == ("made", "finding: tool_error", "made")
    spans = [row for row in ask(store, "SELECT * FROM otel.spans") if row["TraceId"] == run.trace_id]
    (tool,) = [row for row in spans if row["ToolName"] == "look"]
    assert (tool["StatusCode"], tool["ToolFailed"]) == ("Error", True)
    assert tool["Events.Attributes"] == [{"exception.message": "text"}]
