"""CrewAI: crews, flows and agents, the model calls of every provider, and the tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from nexus_otel.engine.apart import keep_apart
from nexus_otel.engine.carry import carried
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.target import Call, Swap, Target
from nexus_otel.genai.operations import Operation
from nexus_otel.instrumentors import _crewai_models as models
from nexus_otel.instrumentors import _crewai_runs as of
from nexus_otel.instrumentors import _crewai_tools as tools

_FIRST_LOOP: Final = "crewai.agents.crew_agent_executor"
_STEPS: Final = "crewai.agents.step_executor"
_TEXT_LOOPS: Final = {
    _FIRST_LOOP: ("", "1.15.29"),
    "crewai.experimental.crew_agent_executor_flow": ("1.8", "1.9"),
    "crewai.experimental.agent_executor": ("1.9", "1.15.29"),
    "crewai.agents.agent_executor": ("1.15.29", ""),
    _STEPS: ("1.11", ""),
    "crewai.lite_agent": ("", ""),
}
"""The modules that take actions out of a model's text, with the versions that have them."""


def _runs(module: str, owner: str, request: Callable[[Call], Operation | None], **since: str) -> Iterable[Target]:
    """Give the methods that run something, each with the version that it came with."""
    for name, first in since.items():
        yield Target(
            module=module,
            name=f"{owner}.{name}",
            request=request,
            response=of.answer if request is not of.batch_request else None,
            failure=models.failure,
            control_flow={"HumanFeedbackPending": "interrupt"},
            since=first,
        )


def _flows(module: str, since: str = "", until: str = "") -> Iterable[Target]:
    for target in _runs(module, "Flow", of.flow_request, kickoff="", kickoff_async="", akickoff="1.7"):
        yield replace(target, since=since or target.since, until=until)
    yield _aside(module, "Flow._execute_method", of.method_request, since, until)


def _aside(module: str, name: str, request: Any, since: str = "", until: str = "") -> Target:
    return Target(module=module, name=name, request=request, since=since, until=until, optional=True)


def _loop(module: str, since: str, until: str) -> Iterable[Target]:
    names = {"execute_tool_and_check_finality": since}
    if module == _FIRST_LOOP:
        names["aexecute_tool_and_check_finality"] = "1.7"
    for name, first in names.items():
        yield Target(
            module=module,
            name=name,
            request=tools.action_request,
            response=tools.action_response,
            since=first,
            until=until,
            optional=True,
        )
    if module != _STEPS:
        yield _aside(module, "handle_max_iterations_exceeded", of.limit_reached, since, until)


def _tool(module: str, name: str, request: Any, since: str = "", *, overridden: bool = False) -> Target:
    return Target(
        module=module,
        name=name,
        request=request,
        response=tools.tool_response,
        since=since,
        overridden=overridden,
    )


def _model(name: str, since: str = "") -> Target:
    return Target(
        module="crewai.llms.base_llm",
        name=f"BaseLLM.{name}",
        request=models.model_request,
        response=models.model_response,
        failure=models.failure,
        since=since,
        overridden=True,
    )


class CrewAIInstrumentor(Instrumentor):
    """Records the crews, flows, agents, model calls and tools of CrewAI."""

    package = "crewai"
    requires = ("crewai >= 1.0.0, < 2",)
    targets = (
        *_runs("crewai.crew", "Crew", of.crew_request, kickoff="", akickoff="1.7"),
        *_runs("crewai.crew", "Crew", of.batch_request, kickoff_for_each="", kickoff_for_each_async="",
               akickoff_for_each="1.7"),
        *_flows("crewai.flow.flow", until="1.14.7"),
        *_flows("crewai.flow.runtime", since="1.14.7"),
        *_runs("crewai.agent", "Agent", of.task_request, execute_task="", aexecute_task="1.7"),
        *_runs("crewai.agent", "Agent", of.agent_request, kickoff="", kickoff_async="", akickoff="1.9"),
        *_runs("crewai.lite_agent", "LiteAgent", of.agent_request, kickoff="", kickoff_async="", akickoff="1.9"),
        _model("call"),
        _model("acall", since="1.7"),
        _aside("crewai.llms.base_llm", "BaseLLM._emit_call_completed_event", models.completed),
        _aside("crewai.llm", "LLM._handle_emit_call_events", models.completed),
        _aside("crewai.llms.base_llm", "BaseLLM._track_token_usage_internal", models.counted),
        _tool("crewai.tools.base_tool", "BaseTool.run", tools.tool_request, overridden=True),
        _tool("crewai.tools.base_tool", "BaseTool.arun", tools.tool_request, since="1.7", overridden=True),
        _tool("crewai.tools.structured_tool", "CrewStructuredTool.invoke", tools.invoke_request),
        _tool("crewai.tools.structured_tool", "CrewStructuredTool.ainvoke", tools.invoke_request),
        _aside("crewai.tools.tool_usage", "ToolUsage.on_tool_error", tools.met_error),
        _aside("crewai.tools.tool_usage", "ToolUsage.on_tool_use_finished", tools.met_none),
        *(each for module, (since, until) in _TEXT_LOOPS.items() for each in _loop(module, since, until)),
        _aside("crewai.task", "Task._execute_core", of.step_request),
        _aside("crewai.task", "Task._aexecute_core", of.step_request, since="1.7"),
        Target(module="crewai.knowledge.knowledge", name="Knowledge.query", request=of.search_request,
               response=of.search_response),
        Target(module="crewai.knowledge.knowledge", name="Knowledge.aquery", request=of.search_request,
               response=of.search_response, since="1.7"),
    )  # fmt: skip
    replacements = (
        Swap("crewai.telemetry.telemetry", "trace", keep_apart, until="1.15.15"),
        Swap("crewai.task", "Task._execute_task_async", carried, until="1.11"),
        Swap("crewai.agent", "Agent._execute_without_timeout", carried, until="1.11"),
        Swap("crewai.agents.crew_agent_executor", "CrewAgentExecutor._execute_single_native_tool_call", carried,
             since="1.10", until="1.11"),
        Swap("crewai.experimental.agent_executor", "AgentExecutor._execute_single_native_tool_call", carried,
             since="1.10", until="1.11"),
    )  # fmt: skip
