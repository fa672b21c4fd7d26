"""LangGraph: runs of graphs, which are agents or workflows, and their nodes where they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.operations import Detail
from nexus_otel.instrumentors._langchain_responses import failure
from nexus_otel.instrumentors._langchain_runs import CONTROL_FLOW, RunFold, graph_request, run_response

_MOVED = "0.6"
"""The version in which `langgraph.pregel` became modules of its own."""


def _graphs(module: str, since: str = "", until: str = "") -> Iterable[Target]:
    for method in ("invoke", "ainvoke", "stream", "astream"):
        yield Target(
            module=module,
            name=f"Pregel.{method}",
            request=graph_request,
            response=run_response,
            failure=failure,
            fold=RunFold,
            control_flow=CONTROL_FLOW,
            since=since,
            until=until,
        )


def _node_request(call: Call) -> Detail | None:
    name = str(call.arguments["task"].name)
    return None if name.startswith("__") else Detail(name)  # `__start__` and the like are nobody's


def _nodes(module: str, since: str = "", until: str = "") -> Iterable[Target]:
    for function in ("run_with_retry", "arun_with_retry"):
        yield Target(
            module=module,
            name=function,
            request=_node_request,
            control_flow=CONTROL_FLOW,
            optional=True,
            since=since,
            until=until,
        )


class LangGraphInstrumentor(Instrumentor):
    """Records runs of graphs."""

    package = "langgraph"
    requires = ("langgraph >= 0.2, < 2",)
    targets = (
        *_graphs("langgraph.pregel", until=_MOVED),
        *_graphs("langgraph.pregel.main", since=_MOVED),
        *_nodes("langgraph.pregel.runner", until=_MOVED),
        *_nodes("langgraph.pregel._runner", since=_MOVED),
    )
