"""Searches of DSPy's retrievers: by `dspy.Retrieve` and its subclasses, `dspy.Embeddings`, `dspy.ColBERTv2`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from nexus_otel._guard import quietly
from nexus_otel.engine.target import Call
from nexus_otel.genai.operations import Retrieval, RetrievalResult
from nexus_otel.genai.plain import item
from nexus_otel.instrumentors._dspy_names import is_own
from nexus_otel.instrumentors._dspy_notes import Ended

_SOURCES: Final = (
    "data_source_id",
    "index_name",
    "collection_name",
    "_weaviate_collection_name",
    "databricks_index_name",
)
"""Attributes by which retrievers name what they search."""


def is_retriever(instance: Any) -> bool:
    """Whether it is a retriever in the form of DSPy's own."""
    return any(kind.__name__ == "Retrieve" and is_own(kind) for kind in type(instance).__mro__)


def search_request(call: Call) -> Retrieval:
    """Read a search, told by a callback or seen as a call."""
    retriever = call.instance
    args = _arguments(call)
    places = [retriever, *_models(retriever)]
    address, port = _server(places)
    return Retrieval(
        source=next((str(name) for place in places for each in _SOURCES if (name := item(place, each))), None),
        query=_query(args),
        top_k=_whole(args.get("k")) if args.get("k") is not None else _whole(item(retriever, "k")),
        address=address,
        port=port,
        outermost=True,
    )


def _arguments(call: Call) -> Mapping[str, Any]:
    """Return the arguments by name; those that a callback tells are `args` and `kwargs` of `query` and `k`."""
    told = call.kwargs.get("inputs") if call.wrapped is None else None
    if told is None:
        return call.arguments
    return {**dict(zip(("query", "k"), told.get("args") or (), strict=False)), **(told.get("kwargs") or {})}


def _models(retriever: Any) -> Sequence[Any]:
    """Return what a retriever hands its queries to: its own, else the one that is configured."""
    package = sys.modules.get("dspy")
    configured = package.settings.get("rm") if package is not None and is_retriever(retriever) else None
    return [model for model in (item(retriever, "rm"), configured) if model is not None]


def _query(args: Mapping[str, Any]) -> str | None:
    given = args.get("query") if args.get("query") is not None else args.get("query_or_queries")
    if isinstance(given, list | tuple):
        return ", ".join(text for text in given if isinstance(text, str)) or None
    return given if isinstance(given, str) else None


def _server(places: Sequence[Any]) -> tuple[str | None, int | None]:
    """Return host and port of a retriever that is a server."""
    for place in places:
        url = item(place, "url")
        if isinstance(url, str):
            parts: SplitResult | None = quietly(urlsplit, url if "://" in url else f"http://{url}")
            port = quietly(lambda parts=parts: parts.port) if parts is not None else None
            return (parts.hostname if parts is not None else None), port or _whole(item(place, "port"))
    return None, None


def _whole(value: Any) -> int | None:
    return quietly(int, value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def search_response(value: Any) -> RetrievalResult:
    """Read what was found, whatever form a retriever gives it."""
    found = value.outputs if isinstance(value, Ended) else value
    passages = item(found, "passages") if not isinstance(found, list | tuple) else found
    texts = passages if isinstance(passages, list | tuple) else ()
    ids = _column(found, "doc_ids", "indices", "pids")
    return RetrievalResult(
        [_document(text, *rest) for text, *rest in zip_longest(texts, ids, _column(found, "scores"))][: len(texts)]
    )


def _column(found: Any, *names: str) -> Sequence[Any]:
    """Return the first list of those names beside the passages."""
    columns = (item(found, name) for name in names) if not isinstance(found, list | tuple) else ()
    return next((column for column in columns if isinstance(column, list | tuple)), ())


def _document(passage: Any, document_id: Any, score: Any) -> Mapping[str, Any]:
    known = document_id if document_id is not None else item(passage, "pid")
    value = score if score is not None else item(passage, "score")
    text = passage if isinstance(passage, str) else item(passage, "long_text") or item(passage, "text")
    document = {"id": str(known) if known is not None else None, "score": _number(value)}
    return {**document, "content": text} if isinstance(text, str) else document


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
