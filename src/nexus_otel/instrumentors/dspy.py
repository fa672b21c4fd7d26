"""DSPy: programs, agents, model calls, tools, searches; told by its callbacks, in whatever thread the work is done."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from nexus_otel._guard import guard
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.limits import AgentGuardError
from nexus_otel.engine.listener import Listener, told
from nexus_otel.engine.target import Swap, Target
from nexus_otel.instrumentors import _dspy_hooks as hooks
from nexus_otel.instrumentors import _dspy_notes as notes
from nexus_otel.instrumentors._dspy_frames import unheard
from nexus_otel.instrumentors._dspy_models import (
    embedding_request,
    embedding_response,
    failure,
    lm_request,
    lm_response,
)
from nexus_otel.instrumentors._dspy_names import is_model
from nexus_otel.instrumentors._dspy_own import inner_remark, own_entry, own_request, own_response
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


def _forward(module: str, owner: str, since: str = "") -> tuple[Target, ...]:
    """Give the methods that people call past `__call__`."""
    return tuple(
        Target(
            module=module,
            name=f"{owner}.{name}",
            request=forward_request,
            failure=failure,
            settle=settle_forward,
            since=since,
            optional=True,
        )
        for name in ("forward", "aforward")
    )


def _search(module: str, name: str, since: str = "", until: str = "") -> Target:
    return Target(
        module=module,
        name=name,
        request=search_request,
        response=search_response,
        optional=True,
        since=since,
        until=until,
    )


def _embedding(name: str) -> Target:
    request, response = embedding_request, embedding_response
    return Target(module="dspy.clients.embedding", name=name, request=request, response=response, optional=True)


def _own(name: str) -> Target:
    """Give a method by which a model is called, of the classes that have one of their own."""
    return Target(
        module="dspy.clients.base_lm",
        name=f"BaseLM.{name}",
        request=own_request,
        response=own_response,
        failure=failure,
        optional=True,
        overridden=True,
    )


def _entry(name: str, since: str = "", until: str = "") -> Target:
    return Target(
        module="dspy.clients.base_lm", name=f"BaseLM.{name}", request=own_entry, since=since, until=until, optional=True
    )


class DSPyInstrumentor(Instrumentor):
    """Records what DSPy tells its callbacks, beside those of the user, whatever these are and however they are set."""

    package = "dspy"
    requires = ("dspy >= 2.6.27, < 4",)
    targets = (
        *_forward("dspy.predict.react", "ReAct"),
        *_forward("dspy.predict.react_v2", "ReActV2", since="3.3"),
        _search("dspy.retrieve.retrieve", "Retrieve.forward", until="3.0"),
        _search("dspy.retrievers.retrieve", "Retrieve.forward", since="3.0"),
        _search("dspy.retrievers.embeddings", "Embeddings.forward"),
        _search("dspy.retrievers.embeddings", "EmbeddingsWithScores.forward", since="3.2"),
        _search("dspy.dsp.colbertv2", "ColBERTv2.__call__"),
        *(_embedding(f"Embedder.{name}") for name in ("__call__", "acall")),
        *(_own(name) for name in ("__call__", "acall")),
        _entry("update_history", since="3.0"),
        _entry("update_global_history", until="3.0"),
    )
    replacements = (
        Swap("dspy.utils.callback", "dspy", lambda module: hooks.Listened(module, callback), required=True),
        Swap("dspy.clients.base_lm", "BaseLM._process_lm_response", notes.noting_response),
        Swap("dspy.clients.base_lm", "BaseLM.update_history", notes.noting_entry, since="3.0"),
        Swap("dspy.clients.execution", "finalize", notes.noting_result, since="3.4"),
        Swap("dspy.clients.execution", "prepare", notes.refusing, since="3.4"),
        Swap("dspy.clients.lm", "LM.forward", notes.refusing, until="3.4"),
        Swap("dspy.clients.lm", "LM.aforward", notes.refusing, until="3.4"),
        Swap("dspy.utils.parallelizer", "ParallelExecutor.execute", hooks.carrying),
    )
    heard: ClassVar = {
        "module": _heard("Module", module_request, module_response, failure=failure),
        "lm": _heard("LM", lm_request, lm_response, failure=failure),
        "tool": _heard("Tool", tool_request, tool_response),
        "batch": _heard("Evaluate", batch_request),
        "search": _heard("Retrieve", search_request, search_response),
        "adapter": _heard("Adapter", adapter_request),
    }


class Callback:
    """What DSPy calls back: one `on_X_start` and `on_X_end` for each kind of thing; kinds we do not know are passed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return _ignored
        raise AttributeError(name)

    def on_module_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """A program begins, or a part of one."""
        if is_model(instance):  # before 3.2 only `dspy.LM` itself is told as a model
            self.on_lm_start(call_id, instance, inputs)
            return
        with guard("hearing of a module"):
            kind = "search" if is_retriever(instance) else "module"
            above = listener.above(notes.active())
            _begin(kind, call_id, instance, inputs=inputs, above=above, item=hooks.in_item())

    def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """A model call begins."""
        notes.expect(call_id)
        try:
            _begin("lm", call_id, instance, **hooks.of_streams(), **inputs)
        except AgentGuardError as error:
            notes.refuse(call_id, error)

    def on_tool_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """A tool begins; those by which an agent ends its own loop are none."""
        with guard("hearing of a tool"):
            kind = None if is_sentinel(instance) else "tool"
            _begin(kind, call_id, instance, inputs=inputs, above=listener.above(notes.active()))

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An evaluation begins, whose items are runs of their own."""
        _begin("batch", call_id, instance, verb="evaluate", inputs=inputs)

    def on_compile_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An optimizer begins, whose trials are runs of their own."""
        _begin("batch", call_id, instance, verb="compile", inputs=inputs)

    def on_adapter_format_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An adapter makes messages."""
        _begin("adapter", call_id, instance, verb="format", inputs=inputs)

    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        """An adapter reads an answer, in which the model may have asked for a tool that there is not."""
        with guard("looking for tools that there are not"):
            for number, tool in enumerate(unknown_tools(listener.above(notes.active()), inputs)):
                _begin("tool", (call_id, number), instance, unknown=tool)
                listener.end((call_id, number), tool.name)
        _begin("adapter", call_id, instance, verb="parse", inputs=inputs)

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Anything ends."""
        note = notes.noted(call_id)
        error = exception if exception is not None else hooks.cancellation(outputs)
        if error is not None:
            listener.fail(call_id, error)
            return
        step = listener.step(call_id)
        if step is None and note is not None and not notes.is_noting():
            listener.remark(inner_remark(note))
        listener.end(call_id, notes.Ended(step, outputs, note) if step is not None else None)

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """A tool ends; the model may be shown how it failed."""
        if exception is not None:
            with guard("restoring a traceback"):
                unheard(exception)
        self.on_module_end(call_id, outputs, exception)

    on_lm_end = on_evaluate_end = on_compile_end = on_module_end
    on_adapter_format_end = on_adapter_parse_end = on_module_end


def _begin(kind: str | None, key: Any, instance: Any, **arguments: Any) -> None:
    """Know that something begins; of no kind, it only stands between others."""
    target = DSPyInstrumentor.heard[kind] if kind is not None else None
    listener.begin(key, target, told(instance, **arguments), parent=notes.active())


def _ignored(**_told: Any) -> None:
    """Hear of something and do nothing."""


listener: Final = Listener(DSPyInstrumentor)
callback: Final[Any] = Callback()
