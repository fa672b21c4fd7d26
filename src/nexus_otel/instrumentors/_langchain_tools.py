"""Tools of LangChain and its retrievers: what they are called with, and what they give back."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Final

from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Retrieval, RetrievalResult, ToolCall, ToolResult
from nexus_otel.genai.plain import item, listed
from nexus_otel.instrumentors._langchain_messages import answer


def tool_request(call: Call) -> ToolCall:
    """Read a call of `run` or `arun`."""
    tool, args = call.instance, call.arguments
    return ToolCall(
        str(tool.name),
        _arguments(tool, args.get("tool_input")),
        args.get("tool_call_id"),
        item(tool, "description") or None,
        schema=_schema(tool),
    )


def _arguments(tool: Any, given: Any) -> Any:
    """Return what the model gives a tool: without what the framework adds, such as its state."""
    if not isinstance(given, dict):
        return given
    without = getattr(tool, "_filter_injected_args", None)  # since langchain-core 1.0
    if without is not None and (found := quietly(without, given)) is not None:
        return found
    return {name: value for name, value in given.items() if name not in _of_class(tool)[1]}


def _schema(tool: Any) -> Any:
    told = item(tool, "args_schema")
    return told if isinstance(told, Mapping) else _of_class(tool)[0]


_classes: Final[weakref.WeakKeyDictionary[type, tuple[Any, frozenset[str]]]] = weakref.WeakKeyDictionary()


def _of_class(tool: Any) -> tuple[Any, frozenset[str]]:
    """Return the JSON schema of a tool's arguments, and the names of those that the framework adds."""
    kind = item(tool, "args_schema")
    if not isinstance(kind, type):
        return None, frozenset()
    if kind not in _classes:
        _classes[kind] = quietly(_read_class, tool, kind) or (None, frozenset())
    return _classes[kind]


def _read_class(tool: Any, kind: Any) -> tuple[Any, frozenset[str]]:
    told = tool.tool_call_schema
    schema = told.model_json_schema() if hasattr(told, "model_json_schema") else told.schema()
    return schema, frozenset(_fields(kind)) - frozenset(_fields(told))


def _fields(kind: Any) -> Mapping[str, Any]:
    return getattr(kind, "model_fields", None) or getattr(kind, "__fields__", {})


def tool_response(value: Any) -> ToolResult:
    """Read what a tool gave back: a message for the model, a command that holds one, or the value itself."""
    update = item(value, "update")
    if isinstance(update, Mapping):
        told = [message for message in listed(update.get("messages")) if item(message, "type") == "tool"]
        value = told[-1] if told else value
    if item(value, "type") == "tool":
        return ToolResult(answer(item(value, "content")), is_error=item(value, "status") == "error")
    return ToolResult(value)


def retrieval_request(call: Call) -> Retrieval:
    """Read a call of a retriever's `invoke` or `ainvoke`."""
    retriever, args = call.instance, call.arguments
    params = quietly(retriever._get_ls_params) or {}
    query = args.get("input")
    top_k = item(item(retriever, "search_kwargs"), "k") or item(retriever, "k")
    return Retrieval(
        source=item(retriever, "name") or params.get("ls_vector_store_provider") or params.get("ls_retriever_name"),
        query=query if isinstance(query, str) else None,
        top_k=top_k if isinstance(top_k, int) else None,
    )


def retrieval_response(value: Any) -> RetrievalResult:
    """Read the documents found."""
    return RetrievalResult([_document(each) for each in listed(value)])


def _document(document: Any) -> dict[str, Any]:
    told = item(document, "metadata") or {}
    found = {
        "id": item(document, "id") or told.get("id") or told.get("source"),
        "score": told.get("score", told.get("relevance_score")),
        "content": item(document, "page_content"),
    }
    return {name: value for name, value in found.items() if value is not None}
