"""Anthropic SDK: model calls (`messages`, `beta.messages`) and the tools that its tool runner executes."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_otel.engine import stainless
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.native import keep_choice, remember_choice, silence_helper, silence_native
from nexus_otel.engine.retries import retries
from nexus_otel.engine.target import Swap, Target
from nexus_otel.instrumentors._anthropic_requests import message_request, tool_request
from nexus_otel.instrumentors._anthropic_responses import MessageFold, failure, message_response, tool_response


def _messages(module: str, since: str = "", until: str = "", **methods: str) -> Iterable[Target]:
    """Give the methods of both colours in a module; those named came later than it did, or not to stay."""
    for method in ("create", "stream", "parse"):
        for owner in ("Messages", "AsyncMessages"):
            yield Target(
                module=module,
                name=f"{owner}.{method}",
                request=message_request,
                response=message_response,
                failure=failure,
                fold=MessageFold,
                settle=stainless.settle,
                deferred=stainless.defer if method == "stream" else None,
                since=methods.get(method, since),
                until=until,
            )


def _tool(owner: str) -> Target:
    module = "anthropic.lib.tools._beta_functions"
    return Target(module=module, name=f"{owner}.call", request=tool_request, response=tool_response, since="0.68")


class AnthropicInstrumentor(Instrumentor):
    """Records the model calls of the Anthropic SDK, and the tools of its tool runner."""

    package = "anthropic"
    requires = ("anthropic >= 0.40.0, < 3", "anthropic >= 0.51.0, < 3")
    """Ours, and that of OpenTelemetry's own instrumentation (1.3b0): who looks for it finds it."""
    targets = (
        *_messages("anthropic.resources.messages.messages", since="0.41", parse="0.77"),
        *_messages("anthropic.resources.beta.messages.messages", stream="0.43", parse="0.73"),
        *retries("anthropic", since="0.50"),
        *(_tool(owner) for owner in ("BetaFunctionTool", "BetaAsyncFunctionTool")),
        *(each for module in ("anthropic.resources.messages", "anthropic.resources.beta.prompt_caching.messages")
          for each in _messages(module, until="0.41", parse="0.41")),
    )  # fmt: skip
    replacements = (
        Swap("anthropic._response", "APIResponse.parse", stainless.observe_parse),
        Swap("anthropic._response", "AsyncAPIResponse.parse", stainless.observe_parse),
        Swap("anthropic._streaming", "Stream.__init__", stainless.observe_streams, until="0.43"),
        Swap("anthropic._streaming", "AsyncStream.__init__", stainless.observe_streams, until="0.43"),
        Swap("anthropic._legacy_response", "LegacyAPIResponse.parse", stainless.observe_parse, until="1.0"),
        Swap("anthropic._base_client", "BaseClient._tracer", silence_native, since="1.14"),
        Swap("anthropic._base_client", "BaseClient._set_open_telemetry", remember_choice, since="1.14"),
        Swap("anthropic._base_client", "BaseClient._copy_open_telemetry", keep_choice, since="1.14"),
        Swap("anthropic.lib.tools._beta_runner", "start_tool_runner_span", silence_helper, since="1.14"),
        Swap("anthropic.lib.tools._beta_runner", "tool_use_span", silence_helper, since="1.14"),
    )
