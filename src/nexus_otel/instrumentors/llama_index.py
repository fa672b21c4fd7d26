"""LlamaIndex: agents, workflows, query engines, their model calls, tools, searches and embeddings.

Everything is told by the framework's dispatcher: each of its methods that is decorated enters and leaves a span, model
calls give events too. LLM classes override `chat` and its like, so there is no method to wrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.listener import Listener
from nexus_otel.engine.target import Swap, Target
from nexus_otel.instrumentors import _llama_index_requests as requests
from nexus_otel.instrumentors import _llama_index_responses as responses
from nexus_otel.instrumentors import _llama_index_runs as runs
from nexus_otel.instrumentors._llama_index_heard import Heard, carrying, hearing

_SPLIT: Final = "0.12.43"
"""The first version of the core whose dispatcher is in a package of its own."""
_INTERRUPTS: Final = {"WaitingForEvent": "interrupt", "WorkflowCancelledByUser": "cancelled"}


def _models() -> Iterable[tuple[tuple[str, str], Target]]:
    """Give the model calls, each of both colours."""
    for name, request in (
        ("chat", requests.chat_request),
        ("stream_chat", requests.chat_stream_request),
        ("complete", requests.completion_request),
        ("stream_complete", requests.completion_stream_request),
    ):
        for method in (name, f"a{name}"):
            yield (
                ("model", method),
                Target(
                    module="llama_index.core.base.llms.base",
                    name=f"BaseLLM.{method}",
                    request=request,
                    response=responses.chat_response,
                    failure=responses.failure,
                    fold=responses.TextFold,
                ),
            )
    for name in ("query_embedding", "text_embedding", "text_embedding_batch"):
        for method in (f"get_{name}", f"aget_{name}"):
            yield (
                ("embedding", method),
                Target(
                    module="llama_index.core.base.embeddings.base",
                    name=f"BaseEmbedding.{method}",
                    request=requests.embedding_request,
                    response=responses.embedding_response,
                    failure=responses.failure,
                ),
            )


def _run(kind: str, owner: str, *methods: str) -> Iterable[tuple[tuple[str, str], Target]]:
    request = {
        "agent": runs.agent_request,
        "team": runs.team_request,
        "workflow": runs.workflow_request,
        "member": runs.member_request,
    }.get(kind, runs.engine_request)
    for method in methods:
        yield (
            (kind, method),
            Target(
                module="llama_index.core",
                name=f"{owner}.{method}",
                request=request,
                response=runs.run_response,
                failure=responses.failure,
                control_flow=_INTERRUPTS,
            ),
        )


def _other() -> Iterable[tuple[tuple[str, str], Target]]:
    for method in ("call", "acall", "__call__"):
        yield (
            ("tool", method),
            Target(
                module="llama_index.core.tools",
                name=f"BaseTool.{method}",
                request=runs.tool_request,
                response=runs.tool_response,
                control_flow=_INTERRUPTS,
            ),
        )
    for method in ("retrieve", "aretrieve"):
        yield (
            ("retriever", method),
            Target(
                module="llama_index.core.base.base_retriever",
                name=f"BaseRetriever.{method}",
                request=runs.retrieval_request,
                response=runs.retrieval_response,
            ),
        )
    yield ("refused", ""), Target(
        module="llama_index.core", name="a tool that is not there", request=runs.refused_request,
        response=runs.tool_response,
    )  # fmt: skip
    yield ("step", ""), Target(
        module="llama_index.core", name="a step", request=runs.detail_request,
        control_flow={"WorkflowDone": "", **_INTERRUPTS},
    )  # fmt: skip


def _dispatcher(module: str, since: str = "", until: str = "") -> Iterable[Swap]:
    """Give the methods of the dispatcher by which everything is told."""
    common = ("id_", "bound_args", "instance")
    for name, names in (
        ("span_enter", (*common, "parent_id", "tags")),
        ("span_exit", (*common, "result")),
        ("span_drop", (*common, "err")),
        ("event", ("event",)),
    ):
        yield Swap(module, f"Dispatcher.{name}", hearing(lambda: heard, name, names), since, until, required=True)


class LlamaIndexInstrumentor(Instrumentor):
    """Records what LlamaIndex's dispatcher tells; `heard` is by kind and method."""

    package = "llama-index-core"
    requires = ("llama-index-core >= 0.12.30, < 0.15",)
    replacements = (
        *_dispatcher("llama_index_instrumentation.dispatcher", since=_SPLIT),
        *_dispatcher("llama_index.core.instrumentation.dispatcher", until=_SPLIT),
        Swap("llama_index.core.tools.function_tool", "sync_to_async", carrying, until="0.13"),
    )
    heard: ClassVar[Mapping[Any, Target]] = dict(
        (
            *_models(),
            *_run("agent", "BaseWorkflowAgent", "run"),
            *_run("team", "AgentWorkflow", "run"),
            *_run("workflow", "Workflow", "run"),
            *_run("member", "BaseWorkflowAgent", ""),
            *_run("engine", "BaseQueryEngine", "query", "aquery"),
            *_run("chat engine", "BaseChatEngine", "chat", "achat", "stream_chat", "astream_chat"),
            *_other(),
        )
    )


listener: Final = Listener(LlamaIndexInstrumentor)
heard: Final = Heard(listener, lambda: LlamaIndexInstrumentor.heard)
