-- Runs in ClickHouse (25.3 or newer): the table that the collector's exporter writes to (contrib v0.161: names and types of
-- its columns are the exporter's, all else is ours), columns that agents are asked about, and views to read by.
--
--   clickhouse-client --multiquery < collector/clickhouse/schema.sql
--
-- Attribute values are texts in the exporter's map. Columns are MATERIALIZED: computed when a row comes, and not part of
-- `SELECT *` nor of the exporter's INSERT.

CREATE DATABASE IF NOT EXISTS otel;

CREATE TABLE IF NOT EXISTS otel.otel_traces
(
    Timestamp DateTime64(9) CODEC(Delta, ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ParentSpanId String CODEC(ZSTD(1)),
    TraceState String CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    SpanKind LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion String CODEC(ZSTD(1)),
    -- with content in it, and so gone after 14 days; Facts is it without, and stays as long as the span
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)) TTL toDateTime(Timestamp) + INTERVAL 14 DAY,
    Duration UInt64 CODEC(ZSTD(1)),
    StatusCode LowCardinality(String) CODEC(ZSTD(1)),
    StatusMessage String CODEC(ZSTD(1)) TTL toDateTime(Timestamp) + INTERVAL 14 DAY,
    -- messages of exceptions are in them
    `Events.Timestamp` Array(DateTime64(9)) CODEC(ZSTD(1)) TTL toDateTime(Timestamp) + INTERVAL 14 DAY,
    `Events.Name` Array(LowCardinality(String)) CODEC(ZSTD(1)) TTL toDateTime(Timestamp) + INTERVAL 14 DAY,
    `Events.Attributes` Array(Map(LowCardinality(String), String)) CODEC(ZSTD(1)) TTL toDateTime(Timestamp) + INTERVAL 14 DAY,
    Links Nested (
        TraceId String,
        SpanId String,
        TraceState String,
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(1)),

    Facts Map(LowCardinality(String), String) MATERIALIZED mapFilter((name, value) -> name NOT IN (
        'gen_ai.input.messages', 'gen_ai.output.messages', 'gen_ai.system_instructions', 'gen_ai.tool.definitions',
        'gen_ai.tool.call.arguments', 'gen_ai.tool.call.result', 'gen_ai.retrieval.query.text',
        'gen_ai.retrieval.documents', 'nexus.output', 'input.value', 'output.value'
    ), SpanAttributes) CODEC(ZSTD(1)),
    -- what reports ask about
    Operation LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.operation.name'] CODEC(ZSTD(1)),
    AgentName LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.agent.name'] CODEC(ZSTD(1)),
    ProviderName LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.provider.name'] CODEC(ZSTD(1)),
    Model LowCardinality(String) MATERIALIZED if(SpanAttributes['gen_ai.response.model'] != '', SpanAttributes['gen_ai.response.model'], SpanAttributes['gen_ai.request.model']) CODEC(ZSTD(1)),
    ToolName LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.tool.name'] CODEC(ZSTD(1)),
    ToolCallId String MATERIALIZED SpanAttributes['gen_ai.tool.call.id'] CODEC(ZSTD(1)),
    ArgumentsHash String MATERIALIZED SpanAttributes['nexus.tool.call.arguments.hash'] CODEC(ZSTD(1)),
    ResultHash String MATERIALIZED SpanAttributes['nexus.tool.call.result.hash'] CODEC(ZSTD(1)),
    ConversationId String MATERIALIZED SpanAttributes['gen_ai.conversation.id'] CODEC(ZSTD(1)),
    InputTokens UInt64 MATERIALIZED toUInt64OrZero(SpanAttributes['gen_ai.usage.input_tokens']) CODEC(T64, ZSTD(1)),
    OutputTokens UInt64 MATERIALIZED toUInt64OrZero(SpanAttributes['gen_ai.usage.output_tokens']) CODEC(T64, ZSTD(1)),
    ErrorType LowCardinality(String) MATERIALIZED SpanAttributes['error.type'] CODEC(ZSTD(1)),
    ToolFailed Bool MATERIALIZED SpanAttributes['nexus.tool.failed'] = 'true' CODEC(ZSTD(1)),
    Keep LowCardinality(String) MATERIALIZED SpanAttributes['nexus.keep'] CODEC(ZSTD(1)),

    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_conversation ConversationId TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_arguments_hash ArgumentsHash TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
TTL toDateTime(Timestamp) + INTERVAL 90 DAY
SETTINGS index_granularity = 8192;

-- Look-up of a run by its id, as the exporter's own schema has it.
CREATE TABLE IF NOT EXISTS otel.otel_traces_trace_id_ts
(
    TraceId String CODEC(ZSTD(1)),
    Start DateTime CODEC(Delta, ZSTD(1)),
    End DateTime CODEC(Delta, ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(Start)
ORDER BY (TraceId, Start)
TTL toDateTime(Start) + INTERVAL 90 DAY
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS otel.otel_traces_trace_id_ts_mv TO otel.otel_traces_trace_id_ts AS
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End
FROM otel.otel_traces
WHERE TraceId != ''
GROUP BY TraceId;

-- Each span once: delivery is at least once, so a row may be there twice (an acknowledgement was lost). Attributes without
-- content where that has gone.
CREATE VIEW IF NOT EXISTS otel.spans AS
SELECT
    Timestamp, TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName, ScopeName, ScopeVersion, Duration,
    StatusCode, StatusMessage, ResourceAttributes, if(empty(SpanAttributes), Facts, SpanAttributes) AS SpanAttributes,
    Events.Timestamp, Events.Name, Events.Attributes, Links.TraceId, Links.SpanId, Links.TraceState, Links.Attributes,
    Operation, AgentName, ProviderName, Model, ToolName, ToolCallId, ArgumentsHash, ResultHash, ConversationId,
    InputTokens, OutputTokens, ErrorType, ToolFailed, Keep
FROM otel.otel_traces
LIMIT 1 BY TraceId, SpanId;

-- One row a run: what `nexus-otel traces` shows.
CREATE VIEW IF NOT EXISTS otel.runs AS
SELECT
    TraceId,
    min(Timestamp) AS Start,
    max(toUnixTimestamp64Nano(Timestamp) + Duration) - min(toUnixTimestamp64Nano(Timestamp)) AS Nanoseconds,
    anyIf(ServiceName, ParentSpanId = '') AS Service,
    anyIf(AgentName, Operation = 'invoke_agent') AS Agent,
    anyIf(StatusCode, ParentSpanId = '') AS Status,
    countIf(Operation IN ('chat', 'generate_content', 'text_completion')) AS Steps,
    countIf(Operation = 'execute_tool') AS ToolCalls,
    countIf(ToolFailed) AS ToolErrors,
    sum(InputTokens) AS Input,
    sum(OutputTokens) AS Output,
    anyIf(Keep, Keep != '') AS Kept
FROM otel.spans
GROUP BY TraceId;
