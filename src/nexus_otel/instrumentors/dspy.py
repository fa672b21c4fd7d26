"""DSPy: programs, agents, model calls, tools, searches; told by its callbacks, in whatever thread the work is done."""

from __future__ import annotations

from typing import Any, Final

from nexus_otel._guard import guard
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.listener import Listener, told
from nexus_otel.engine.target import Swap, Target
from nexus_otel.instrumentors import _dspy_hooks as hooks
from nexus_otel.instrumentors import _dspy_notes as notes
from nexus_otel.instrumentors._dspy_models import (
    embedding_request,
    embedding_response,
    failure,
    lm_request,
    lm_response,
)
from nexus_otel.instrumentors._dspy_programs import (
    adapter_request,
    batch_request,
    forward_request,
    module_request,
    module_response,
    settle_forward,
)
from nexus_otel.instrumentors._dspy_searches import is_retriever, search_request, search_response
from nexus_otel.instrumentors._dspy_tools import is_sentinel, tool_request, tool_response, unknown_tools


def _heard(name: str, request: Any, response: Any = None, **more: Any) -> Target:
    """Return how something is read of which DSPy calls back: it is wrapped nowhere."""
    return Target(module="dspy.utils.callback", name=name, request=request, response=response, **more)


_MODULE: Final = _heard("Module", module_request, module_response)
_LM: Final = _heard("LM", lm_request, lm_response, failure=failure)
_TOOL: Final = _heard("Tool", tool_request, tool_response)
_BATCH: Final = _heard("Evaluate", batch_request)
_SEARCH: Final = _heard("Retrieve", search_request, search_response)
_ADAPTER: Final = _heard("Adapter", adapter_request)


def _forward(module: str, owner: str, since: str = "") -> tuple[Target, ...]:
    """Give the methods that people call past `__call__`."""
    return tuple(
        Target(
            module=module,
            name=f"{owner}.{name}",
            request=forward_request,
            settle=settle_forward,
            since=since,
            optional=True,
        )
        for name in ("forward", "aforward")
    )


def _search(module: str, name: str) -> Target:
    return Target(module=module, name=name, request=search_request, response=search_response, optional=True)


class DSPyInstrumentor(Instrumentor):
    """Records what DSPy tells its callbacks, beside those of the user, whatever these are and however they are set."""

    package = "dspy"
    requires = ("dspy >= 2.6.25, < 4",)
    targets = (
        *_forward("dspy.predict.react", "ReAct"),
        *_forward("dspy.predict.react_v2", "ReActV2", since="3.3"),
        _search("dspy.retrieve.retrieve", "Retrieve.forward"),
        _search("dspy.retrievers.retrieve", "Retrieve.forward"),
        _search("dspy.retrievers.embeddings", "Embeddings.forward"),
        _search("dspy.retrievers.embeddings", "EmbeddingsWithScores.forward"),
        _search("dspy.dsp.colbertv2", "ColBERTv2.__call__"),
        *(
            Target(
                module="dspy.clients.embedding",
                name=f"Embedder.{name}",
                request=embedding_request,
                response=embedding_response,
                optional=True,
            )
            for name in ("__call__", "acall")
        ),
    )
    replacements = (
        Swap("dspy.utils.callback", "dspy", lambda module: hooks.Listened(module, callback), required=True),
        Swap("dspy.clients.base_lm", "BaseLM._process_lm_response", notes.noting_response),
        Swap("dspy.clients.base_lm", "BaseLM.update_history", notes.noting_entry),
        Swap("dspy.clients.execution", "finalize", notes.noting_result, since="3.4"),
        Swap("dspy.utils.parallelizer", "ParallelExecutor.execute", hooks.carrying),
    )


class Callback:
    """What DSPy calls back: one `on_X_start` and `on_X_end` for each kind of thing; kinds we do not know are passed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return _ignored
        raise AttributeError(name)

    def on_module_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """A program begins, or a part of one."""
        parent = notes.active()
        with guard("hearing of a module"):
            above, item = listener.above(parent), hooks.in_item()
            target = _SEARCH if is_retriever(instance) else _MODULE
            listener.begin(call_id, target, told(instance, inputs=inputs, above=above, item=item), parent=parent)

    def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """A model call begins."""
        parent = notes.active()
        listener.begin(call_id, _LM, told(instance, streamed=hooks.is_streamed(), **inputs), parent=parent)
        notes.expect(call_id)

    def on_tool_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """A tool begins; those by which an agent ends its own loop are none."""
        target = None if is_sentinel(instance) else _TOOL
        listener.begin(call_id, target, told(instance, inputs=inputs), parent=notes.active())

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An evaluation begins, whose items are runs of their own."""
        listener.begin(call_id, _BATCH, told(instance, verb="evaluate", inputs=inputs), parent=notes.active())

    def on_compile_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An optimizer begins, whose trials are runs of their own."""
        listener.begin(call_id, _BATCH, told(instance, verb="compile", inputs=inputs), parent=notes.active())

    def on_adapter_format_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An adapter makes messages."""
        listener.begin(call_id, _ADAPTER, told(instance, verb="format", inputs=inputs), parent=notes.active())

    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An adapter reads an answer, in which the model may have asked for a tool that there is not."""
        parent = notes.active()
        with guard("looking for tools that there are not"):
            run = listener.above(parent)
            for number, tool in enumerate(unknown_tools(run, inputs)):
                listener.begin((call_id, number), _TOOL, told(instance, unknown=tool), parent=parent)
                listener.end((call_id, number), tool.name)
        listener.begin(call_id, _ADAPTER, told(instance, verb="parse", inputs=inputs), parent=parent)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """A model call ends."""
        _end(call_id, outputs, exception, note=notes.noted(call_id))

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """A program or a part of one ends."""
        _end(call_id, outputs, exception)

    on_tool_end = on_evaluate_end = on_compile_end = on_module_end
    on_adapter_format_end = on_adapter_parse_end = on_module_end


def _end(call_id: str, outputs: Any, exception: BaseException | None, note: Any = None) -> None:
    error = exception if exception is not None else hooks.cancellation(outputs)
    if error is not None:
        listener.fail(call_id, error)
        return
    step = listener.step(call_id)
    listener.end(call_id, notes.Ended(step, outputs, note) if step is not None else None)


def _ignored(**_told: Any) -> None:
    """Hear of something and do nothing."""


listener: Final = Listener(DSPyInstrumentor)
callback: Final[Any] = Callback()
