"""LangChain: model calls, tools, retrievers, and chains that are called by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.target import Target
from nexus_otel.genai.operations import Batch, Passage
from nexus_otel.instrumentors._langchain_requests import chat_request, chat_stream_request, text_request
from nexus_otel.instrumentors._langchain_responses import ChatFold, chat_response, failure
from nexus_otel.instrumentors._langchain_runs import CONTROL_FLOW, RunFold, chain_request, run_response
from nexus_otel.instrumentors._langchain_tools import (
    retrieval_request,
    retrieval_response,
    tool_request,
    tool_response,
)

_CHAT = "langchain_core.language_models.chat_models"
_RUNNABLES = "langchain_core.runnables.base"
_TEXT = "langchain_core.language_models.llms"


def _model(module: str, method: str, request: Callable[..., Any], since: str = "") -> Target:
    """Give a method of a model; one that streams gives chunks, the others the whole answer."""
    return Target(
        module=module,
        name=f"{'BaseChatModel' if module == _CHAT else 'BaseLLM'}.{method}",
        request=request,
        response=chat_response,
        failure=failure,
        fold=ChatFold,
        since=since,
    )


def _batches() -> Iterable[Target]:
    for method in ("batch", "abatch", "batch_as_completed", "abatch_as_completed"):
        yield Target(module=_RUNNABLES, name=f"Runnable.{method}", request=lambda _call: Batch())


def _chains() -> Iterable[Target]:
    for owner in ("RunnableSequence", "RunnableParallel"):
        for method in ("invoke", "ainvoke", "stream", "astream"):
            yield Target(
                module=_RUNNABLES,
                name=f"{owner}.{method}",
                request=chain_request,
                response=run_response,
                failure=failure,
                fold=RunFold,
                control_flow=CONTROL_FLOW,
            )


class LangChainInstrumentor(Instrumentor):
    """Records what LangChain's own classes do, whatever provider's package is beneath."""

    package = "langchain-core"
    requires = ("langchain-core >= 0.3.0, < 2",)
    targets = (
        *(_model(_CHAT, name, chat_request) for name in ("_generate_with_cache", "_agenerate_with_cache")),
        Target(module=_CHAT, name="BaseChatModel.agenerate", request=lambda _call: Passage()),
        *(_model(_CHAT, name, chat_stream_request) for name in ("stream", "astream")),
        *(_model(_TEXT, name, text_request) for name in ("generate", "agenerate", "stream", "astream")),
        *(
            Target(
                module="langchain_core.tools.base",
                name=f"BaseTool.{method}",
                request=tool_request,
                response=tool_response,
                control_flow=CONTROL_FLOW,
            )
            for method in ("run", "arun")
        ),
        *(
            Target(
                module="langchain_core.retrievers",
                name=f"BaseRetriever.{method}",
                request=retrieval_request,
                response=retrieval_response,
            )
            for method in ("invoke", "ainvoke")
        ),
        *_chains(),
        *_batches(),
    )
