"""Every attribute, event and metric name that we emit, in one table.

The `gen_ai.*` names are those of open-telemetry/semantic-conventions-genai (main, October 2026); `nexus.*` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.42.0"

# -- conventions: what happened ----------------------------------------------------------------------------------------
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_DESCRIPTION: Final = "gen_ai.agent.description"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
OUTPUT_TYPE: Final = "gen_ai.output.type"

REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_CHOICES: Final = "gen_ai.request.choice.count"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_PREVIOUS_RESPONSE: Final = "gen_ai.request.previous_response.id"

RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"

USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_AUDIO_INPUT: Final = "gen_ai.usage.audio.input_tokens"
USAGE_AUDIO_OUTPUT: Final = "gen_ai.usage.audio.output_tokens"

OPENAI_API: Final = "openai.api.type"
OPENAI_REQUEST_TIER: Final = "openai.request.service_tier"
OPENAI_RESPONSE_TIER: Final = "openai.response.service_tier"
OPENAI_FINGERPRINT: Final = "openai.response.system_fingerprint"
OF_OPENAI_ANSWERS: Final = frozenset({OPENAI_RESPONSE_TIER, OPENAI_FINGERPRINT})
"""What release 1.3b0 adds to the metrics too."""

ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
EMBEDDING_DIMENSIONS: Final = "gen_ai.embeddings.dimension.count"
DATA_SOURCE: Final = "gen_ai.data_source.id"
RETRIEVAL_TOP_K: Final = "gen_ai.retrieval.top_k"

TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"

SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
STATUS_CODE: Final = "http.response.status_code"

EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

USER_ID: Final = "user.id"
SESSION_ID: Final = "session.id"
ENVIRONMENT: Final = "deployment.environment.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
SERVICE_VERSION: Final = "service.version"
REVISION: Final = "vcs.ref.head.revision"

# -- conventions: content, only when asked for -------------------------------------------------------------------------
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
RETRIEVAL_QUERY: Final = "gen_ai.retrieval.query.text"
RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"

CONTENT_ATTRIBUTES: Final = frozenset(
    {
        SYSTEM_INSTRUCTIONS, INPUT_MESSAGES, OUTPUT_MESSAGES, TOOL_DEFINITIONS, TOOL_ARGUMENTS, TOOL_RESULT,
        RETRIEVAL_QUERY, RETRIEVAL_DOCUMENTS, "nexus.output",
    }
)  # fmt: skip
"""The attributes that hold what people and models said; nothing else may."""

DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
EXCEPTION_LOG_EVENT: Final = "gen_ai.client.operation.exception"

# -- operations --------------------------------------------------------------------------------------------------------
CHAT: Final = "chat"
TEXT_COMPLETION: Final = "text_completion"
EMBEDDINGS: Final = "embeddings"
RETRIEVAL: Final = "retrieval"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
EXECUTE_TOOL: Final = "execute_tool"
MODEL_OPERATIONS: Final = frozenset({CHAT, "generate_content", TEXT_COMPLETION})

# -- ours --------------------------------------------------------------------------------------------------------------
DERIVED: Final = "nexus.derived"
METADATA: Final = "nexus.metadata."
NAME: Final = "nexus.name"
STEP: Final = "nexus.step"
STATUS: Final = "nexus.status"
UNENDED: Final = "nexus.unended"
OUTPUT: Final = "nexus.output"
TRUNCATED: Final = "nexus.truncated"
MESSAGE_COUNT: Final = "nexus.message.count"
MESSAGE_BYTES: Final = "nexus.message.bytes"
ARGUMENTS_HASH: Final = "nexus.tool.call.arguments.hash"
RESULT_HASH: Final = "nexus.tool.call.result.hash"
TOOL_FAILED: Final = "nexus.tool.failed"
TOOL_FAILED_HOW: Final = "nexus.tool.failed.how"
TOOL_ERROR_CLASS: Final = "nexus.tool.error.class"
TOOL_ERROR_HASH: Final = "nexus.tool.error.hash"
TOOL_KNOWN: Final = "nexus.tool.known"
TOOL_SCHEMA_ERRORS: Final = "nexus.tool.schema_errors"
TOOL_ANSWER_FORM: Final = "nexus.tool.answer.form"
ERROR_CLASS: Final = "nexus.error.class"
ERROR_CODE: Final = "nexus.error.code"
CONTEXT_LIMIT: Final = "nexus.context.limit"
CONTEXT_TOKENS: Final = "nexus.context.tokens"
CONTEXT_WINDOW: Final = "nexus.context.window"
STREAM_OUTCOME: Final = "nexus.stream.outcome"
TOTAL_INPUT: Final = "nexus.usage.input_tokens"
TOTAL_OUTPUT: Final = "nexus.usage.output_tokens"
RUN_STEPS: Final = "nexus.run.steps"
RUN_TOOL_CALLS: Final = "nexus.run.tool_calls"
RUN_COST: Final = "nexus.run.cost"
RUN_CLOSED_BY: Final = "nexus.run.closed_by"
REPLAYED: Final = "nexus.replayed"
CACHE_HIT: Final = "nexus.cache.hit"
FINDING_EVENT: Final = "nexus.finding"
FINDING_MODE: Final = "nexus.finding.mode"
FINDING_LEVEL: Final = "nexus.finding.level"
FINDING_TITLE: Final = "nexus.finding.title"
FINDING_COUNT: Final = "nexus.finding.count"
FINDING_EVIDENCE: Final = "nexus.finding.evidence"
FINDINGS: Final = "nexus.findings"
KEEP: Final = "nexus.keep"
RETRY_EVENT: Final = "nexus.retry"
RETRY_ATTEMPT: Final = "nexus.retry.attempt"
RETRY_WAIT: Final = "nexus.retry.wait"
RETRY_CAUSE: Final = "nexus.retry.cause"


@dataclass(frozen=True, slots=True)
class Own:
    """One name of ours: its type, its unit where it has one, and its meaning."""

    kind: str
    meaning: str
    unit: str = ""


OWN: Final[dict[str, Own]] = {
    METADATA: Own("string", "Beginning of the names of what a person gives a run besides: of any type"),
    NAME: Own("string", "The name that a person gave a span of theirs, where the span is named by what it describes"),
    STEP: Own("int", "The number of a step of an agent, as its author counts"),
    STATUS: Own("string", "How a person said that a span of theirs ended: success, error, timeout, or another word"),
    UNENDED: Own("bool", "The span was still open when its trace was ended"),
    OUTPUT: Own("string", "What a person said came of a span of theirs, as JSON; content"),
    DERIVED: Own("bool", "The span was made from the messages around it, not by watching the execution"),
    TRUNCATED: Own("string[]", "Content attributes that were shortened or left out"),
    MESSAGE_COUNT: Own("int", "Messages in the request", "{message}"),
    MESSAGE_BYTES: Own("int", "UTF-8 length of the texts, arguments and results in the request", "By"),
    ARGUMENTS_HASH: Own("string", "Keyed 64-bit hash of the tool's name and its normalised arguments"),
    RESULT_HASH: Own("string", "Keyed 64-bit hash of the tool's name and its normalised answer"),
    TOOL_FAILED: Own("bool", "The call failed, by exception, flag, field or the start of its text"),
    TOOL_FAILED_HOW: Own("string", "What said so: status, field or text"),
    TOOL_ERROR_CLASS: Own("string", "rate_limit, timeout, auth, not_found, bad_arguments, server or other"),
    TOOL_ERROR_HASH: Own("string", "Hash of the error text with its values masked"),
    TOOL_KNOWN: Own("bool", "The tool is among those offered to the model"),
    TOOL_SCHEMA_ERRORS: Own("string[]", "Rule and path of each violation of the tool's schema, never a value"),
    TOOL_ANSWER_FORM: Own("string", "empty, pending, terminal or other"),
    ERROR_CLASS: Own("string", "context_overflow where a model call failed for its length"),
    ERROR_CODE: Own("string", "The provider's own code for the error"),
    CONTEXT_LIMIT: Own("int", "The model's context limit, as the provider's error gave it", "{token}"),
    CONTEXT_TOKENS: Own("int", "The prompt's length, as the provider's error gave it", "{token}"),
    CONTEXT_WINDOW: Own("int", "The model's context limit, as the framework knows it", "{token}"),
    STREAM_OUTCOME: Own("string", "closed, abandoned or cancelled where a stream was not read to its end"),
    TOTAL_INPUT: Own("int", "Input tokens of the whole run, on its root", "{token}"),
    TOTAL_OUTPUT: Own("int", "Output tokens of the whole run, on its root", "{token}"),
    RUN_STEPS: Own("int", "Model calls of the run, on its root", "{call}"),
    RUN_TOOL_CALLS: Own("int", "Tool calls of the run that were answered, on its root", "{call}"),
    RUN_COST: Own("double", "What the run cost, on its root, where a limit asks for it", "{USD}"),
    RUN_CLOSED_BY: Own(
        "string", "What ended a run other than its last answer: idle, exit, parent, limit, cancelled, closed, interrupt"
    ),
    CACHE_HIT: Own("bool", "The answer came from the library's own cache: no request was made and no token billed"),
    REPLAYED: Own("bool", "The span was open when its process ended; its end is the last sign of life"),
    FINDING_EVENT: Own("event", "A failure mode that was found, on the span where it became certain"),
    FINDING_MODE: Own("string", "loop, hallucinated_action, context_overflow, tool_error, retry or latency_spike"),
    FINDING_LEVEL: Own("string", "info, warning or error"),
    FINDING_TITLE: Own("string", "One line of names, counts and classes, never a value"),
    FINDING_COUNT: Own("int", "How often it was seen by then", "{call}"),
    FINDING_EVIDENCE: Own("string[]", "Ids of the spans that show it, in the order of time"),
    FINDINGS: Own("string[]", "The modes that were found in the run, on its root"),
    KEEP: Own("string", "Why a collector should keep the run whatever its sampling says, on its root"),
    RETRY_EVENT: Own("event", "A retry by the provider's SDK, inside one model call"),
    RETRY_ATTEMPT: Own("int", "Which retry of the call it is, from 1", "{attempt}"),
    RETRY_WAIT: Own("double", "How long the SDK waited before it", "s"),
    RETRY_CAUSE: Own("string", "The provider's status, or the connection error"),
}

# -- metrics: (name, unit, description, buckets) -----------------------------------------------------------------------
SECONDS: Final = tuple(0.01 * 2**n for n in range(14))
AGENT_SECONDS: Final = tuple(0.1 * 2**n for n in range(13))
WORKFLOW_SECONDS: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
TOKENS: Final = tuple(float(4**n) for n in range(14))


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument: name, unit, meaning; buckets make it a histogram, none a counter."""

    name: str
    unit: str
    meaning: str
    buckets: tuple[float, ...] | None = None


MAIN_METRICS: Final[dict[str, Metric]] = {
    "duration": Metric("gen_ai.client.inference.duration", "s", "Duration of a model call", SECONDS),
    "first_chunk": Metric(
        "gen_ai.client.inference.time_to_first_chunk", "s", "Time to the first chunk of a stream", SECONDS
    ),
    "chunk": Metric("gen_ai.client.inference.time_per_output_chunk", "s", "Time between two chunks", SECONDS),
    "input": Metric("gen_ai.client.inference.usage.input_tokens", "{token}", "Input tokens, cached ones included"),
    "output": Metric("gen_ai.client.inference.usage.output_tokens", "{token}", "Output tokens"),
    "cache_read": Metric("gen_ai.client.inference.usage.cache_read.input_tokens", "{token}", "Tokens read from cache"),
    "cache_write": Metric(
        "gen_ai.client.inference.usage.cache_write.input_tokens", "{token}", "Tokens written to cache"
    ),
    "reasoning": Metric("gen_ai.client.inference.usage.reasoning.output_tokens", "{token}", "Reasoning tokens"),
    "input_per_call": Metric(
        "gen_ai.client.inference.operation.input_tokens", "{token}", "Input tokens of a call", TOKENS
    ),
    "output_per_call": Metric(
        "gen_ai.client.inference.operation.output_tokens", "{token}", "Output tokens of a call", TOKENS
    ),
    "agent": Metric("gen_ai.invoke_agent.duration", "s", "Duration of an agent run", AGENT_SECONDS),
    "agent_calls": Metric(
        "gen_ai.invoke_agent.inference_calls", "{inference_call}", "Model calls of an agent run", TOKENS
    ),
    "agent_tools": Metric("gen_ai.invoke_agent.tool_calls", "{tool_call}", "Tool calls of an agent run", TOKENS),
    "tool": Metric("gen_ai.execute_tool.duration", "s", "Duration of a tool call", SECONDS),
    "workflow": Metric("gen_ai.invoke_workflow.duration", "s", "Duration of a workflow", WORKFLOW_SECONDS),
    "other": Metric("gen_ai.client.operation.duration", "s", "Duration of embeddings and retrievals", SECONDS),
}
PKG_METRICS: Final[dict[str, Metric]] = {
    "duration": Metric("gen_ai.client.operation.duration", "s", "GenAI operation duration", SECONDS),
    "first_chunk": Metric("gen_ai.client.operation.time_to_first_chunk", "s", "Time to first chunk", SECONDS),
    "chunk": Metric("gen_ai.client.operation.time_per_output_chunk", "s", "Time per output chunk", SECONDS),
    "tokens": Metric("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used", TOKENS),
    "agent": Metric("gen_ai.invoke_agent.duration", "s", "Duration of an agent run", AGENT_SECONDS),
    "tool": Metric("gen_ai.execute_tool.duration", "s", "Duration of a tool call", SECONDS),
}
FINDINGS_METRIC: Final = Metric("nexus.findings", "{finding}", "Failure modes found")
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - no password
TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105 - no password
