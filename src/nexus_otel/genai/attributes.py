"""Operations and results as span attributes: pure functions, one per kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from nexus_otel import normal, semconv
from nexus_otel._guard import quietly
from nexus_otel.genai.content import without_blobs
from nexus_otel.genai.measure import message_bytes
from nexus_otel.genai.operations import (
    AgentRun,
    AgentTotals,
    Conversation,
    Failure,
    Inference,
    InferenceResult,
    Message,
    Retrieval,
    RetrievalResult,
    Retry,
    ToolCall,
    ToolResult,
    Usage,
)
from nexus_otel.schema import schema_errors

Attributes = dict[str, Any]


def known(attributes: Mapping[str, Any]) -> Attributes:
    """Return the attributes that have a value: none is ever None."""
    return {name: value for name, value in attributes.items() if value is not None}


def inference_start(operation: Inference) -> Attributes:
    """Return what a sampler may decide on, known before a model call is made."""
    return known(
        {
            semconv.OPERATION: operation.operation,
            semconv.PROVIDER: operation.provider,
            semconv.REQUEST_MODEL: operation.model,
            semconv.SERVER_ADDRESS: operation.address,
            semconv.SERVER_PORT: operation.port,
            semconv.REQUEST_STREAM: operation.stream or None,
            semconv.CONVERSATION_ID: operation.conversation_id,
        }
    )


def conversation_facts(conversation: Conversation) -> Attributes:
    """Return the facts of a request that are kept without its content."""
    if conversation.messages is None:
        return {}
    return {
        semconv.MESSAGE_COUNT: len(conversation.messages),
        semconv.MESSAGE_BYTES: message_bytes(conversation.messages),
    }


def usage(used: Usage) -> Attributes:
    """Return the tokens of one model call."""
    return known(
        {
            semconv.USAGE_INPUT: used.input_tokens,
            semconv.USAGE_OUTPUT: used.output_tokens,
            semconv.USAGE_CACHE_READ: used.cache_read_tokens,
            semconv.USAGE_CACHE_WRITE: used.cache_write_tokens,
            semconv.USAGE_REASONING: used.reasoning_tokens,
        }
    )


def inference_end(result: InferenceResult) -> Attributes:
    """Return what a response says, without its content."""
    return {
        **known(
            {
                semconv.RESPONSE_ID: result.id,
                semconv.RESPONSE_MODEL: result.model,
                semconv.RESPONSE_FINISH_REASONS: result.finish_reasons or None,
            }
        ),
        **usage(result.usage),
        **result.attributes,
    }


def conversation_content(conversation: Conversation) -> Attributes:
    """Return the content of a request, by content attribute."""
    content: Attributes = {}
    if conversation.system:
        content[semconv.SYSTEM_INSTRUCTIONS] = without_blobs(conversation.system)
    if conversation.messages:
        content[semconv.INPUT_MESSAGES] = messages(conversation.messages)
    if conversation.tools:
        content[semconv.TOOL_DEFINITIONS] = list(conversation.tools)
    return content


def messages(of: Iterable[Message]) -> list[Attributes]:
    """Return messages in the conventions' form."""
    return [
        {
            "role": message.role,
            "parts": without_blobs(message.parts),
            **({"name": message.name} if message.name else {}),
        }
        for message in of
    ]


def output_messages(of: Sequence[Message], reasons: Sequence[str], *, with_reasons: bool) -> list[Attributes]:
    """Return the answer's messages; `with_reasons` adds the finish reason to each, as release 1.3b0 does."""
    out = messages(of)
    if with_reasons:
        for message, reason in zip_longest(out, reasons[: len(out)]):  # null where there is none, as the release does
            message["finish_reason"] = reason
    return out


def tool_start(operation: ToolCall, agent: AgentRun | None) -> Attributes:
    """Return what is known before a tool runs, of an agent if it is known."""
    return known(
        {
            semconv.OPERATION: semconv.EXECUTE_TOOL,
            semconv.TOOL_NAME: operation.name,
            semconv.TOOL_TYPE: operation.kind,
            semconv.TOOL_CALL_ID: operation.id,
            semconv.TOOL_DESCRIPTION: operation.description,
            semconv.DERIVED: operation.derived or None,
            semconv.AGENT_NAME: agent.name if agent is not None and not agent.workflow else None,
            semconv.CONVERSATION_ID: agent.conversation_id if agent is not None else None,
        }
    )


def tool_arguments_facts(operation: ToolCall, hasher: normal.Hasher) -> Attributes:
    """Return the facts of a tool call's arguments that are kept without them."""
    facts: Attributes = {semconv.ARGUMENTS_HASH: hasher.arguments(operation.name, operation.arguments)}
    if operation.known is not None:
        facts[semconv.TOOL_KNOWN] = operation.known
    found = quietly(schema_errors, operation.schema, operation.arguments)
    if found:
        facts[semconv.TOOL_SCHEMA_ERRORS] = list(found)
    return facts


def tool_answer_facts(name: str, answer: Any, hasher: normal.Hasher) -> Attributes:
    """Return the facts of a tool's answer that are kept without it."""
    return {
        semconv.RESULT_HASH: hasher.result(name, answer),
        semconv.TOOL_ANSWER_FORM: normal.answer_form(answer),
    }


def tool_failure_facts(how: str, text: str, hasher: normal.Hasher) -> Attributes:
    """Return the facts of a failed tool call; `text` is what it said."""
    return {
        semconv.TOOL_FAILED: True,
        semconv.TOOL_FAILED_HOW: how,
        semconv.TOOL_ERROR_CLASS: normal.error_class(text),
        semconv.TOOL_ERROR_HASH: hasher.text(normal.masked_error(text)),
    }


def tool_end(name: str, result: ToolResult, hasher: normal.Hasher) -> Attributes:
    """Return the facts of a finished tool call, with how it failed if it did."""
    facts = tool_answer_facts(name, result.answer, hasher)
    said = answer_text(result.answer) if isinstance(result.answer, list) else result.answer
    failure = normal.tool_failure(name, said)
    if result.is_error or failure is not None:
        how = "status" if result.is_error or failure is None else failure.how
        facts |= tool_failure_facts(how, answer_text(result.answer), hasher)
    else:
        facts[semconv.TOOL_FAILED] = False
    return facts


def answer_text(answer: Any) -> str:
    """Return what an answer says in words: itself, the texts of its parts, or its JSON."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, list):
        texts = [str(part.get("content", "")) for part in answer if isinstance(part, Mapping)]
        if any(texts):
            return " ".join(texts)
    return normal.normalise(answer)


def agent_start(run: AgentRun) -> Attributes:
    """Return what is known of a run when it starts."""
    return known(
        {
            semconv.OPERATION: run.operation,
            semconv.WORKFLOW_NAME if run.workflow else semconv.AGENT_NAME: run.name,
            semconv.AGENT_DESCRIPTION: None if run.workflow else run.description,
            semconv.CONVERSATION_ID: run.conversation_id,
        }
    )


def agent_end(run: AgentRun, totals: AgentTotals, *, with_usage: bool) -> Attributes:
    """Return the totals of a run; `with_usage` adds the standard usage names to the ones of ours."""
    out = known(
        {
            semconv.TOTAL_INPUT: totals.input_tokens,
            semconv.TOTAL_OUTPUT: totals.output_tokens,
            semconv.RESPONSE_FINISH_REASONS: None if run.workflow else totals.finish_reasons or None,
            semconv.RUN_CLOSED_BY: totals.closed_by,
            semconv.CONVERSATION_ID: run.conversation_id,
        }
    )
    out[semconv.RUN_STEPS] = totals.steps
    out[semconv.RUN_TOOL_CALLS] = totals.tool_calls
    if with_usage and not run.workflow:
        out |= known({semconv.USAGE_INPUT: totals.input_tokens, semconv.USAGE_OUTPUT: totals.output_tokens})
    return out


def retrieval_start(operation: Retrieval) -> Attributes:
    """Return what is known before a search."""
    return known(
        {
            semconv.OPERATION: semconv.RETRIEVAL,
            semconv.PROVIDER: operation.provider,
            semconv.DATA_SOURCE: operation.source,
            semconv.RETRIEVAL_TOP_K: operation.top_k,
            semconv.SERVER_ADDRESS: operation.address,
            semconv.SERVER_PORT: operation.port,
        }
    )


def retrieval_content(operation: Retrieval, result: RetrievalResult | None, *, with_texts: bool) -> Attributes:
    """Return what was searched for and found; without the texts of it as release 1.3b0 does."""
    found = [dict(document) for document in result.documents] if result is not None else None
    if found is not None and not with_texts:
        found = [{name: document.get(name) for name in ("id", "score")} for document in found]
    return known({semconv.RETRIEVAL_QUERY: operation.query, semconv.RETRIEVAL_DOCUMENTS: found})


def retry(of: Retry, wait_s: float) -> Attributes:
    """Return what is known of a retry by the provider's SDK."""
    return known(
        {
            semconv.RETRY_ATTEMPT: of.attempt,
            semconv.RETRY_WAIT: wait_s,
            semconv.RETRY_CAUSE: of.cause,
            semconv.STATUS_CODE: of.status,
        }
    )


def failure(failed: Failure) -> Attributes:
    """Return what a failed call says, without the provider's text."""
    out: Attributes = {semconv.ERROR_TYPE: failed.type}
    if failed.code and failed.code != failed.type:
        out[semconv.ERROR_CODE] = failed.code
    overflow = normal.context_overflow(failed.message or "", failed.code)
    if overflow is not None:
        out[semconv.ERROR_CLASS] = "context_overflow"
        out |= known({semconv.CONTEXT_LIMIT: overflow.limit, semconv.CONTEXT_TOKENS: overflow.tokens})
    return out


def fixed_message(attributes: Mapping[str, Any]) -> str | None:
    """Return the message of ours for a failure whose own text is not recorded."""
    if attributes.get(semconv.ERROR_CLASS) != "context_overflow":
        return None
    tokens, limit = attributes.get(semconv.CONTEXT_TOKENS), attributes.get(semconv.CONTEXT_LIMIT)
    if limit is None:
        return "context length exceeded"
    return f"context length: {tokens if tokens is not None else 'more'} > {limit}"
