"""What LlamaIndex's dispatcher tells: spans that are entered, left and dropped, and events, in steps of the engine."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from nexus_otel._guard import guard
from nexus_otel.engine.limits import AgentGuardError
from nexus_otel.engine.listener import Listener, carried, told
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.plain import item
from nexus_otel.instrumentors._llama_index_runs import Ended

_ID_LENGTH: Final = 37
"""Of the UUID that ends a span's id, with its hyphen."""
_KINDS: Final = {
    "AgentWorkflow": "team",
    "BaseWorkflowAgent": "agent",
    "Workflow": "workflow",
    "BaseLLM": "model",
    "BaseEmbedding": "embedding",
    "BaseSparseEmbedding": "embedding",
    "BaseTool": "tool",
    "BaseRetriever": "retriever",
    "BaseQueryEngine": "engine",
    "BaseChatEngine": "chat engine",
}
"""Base classes by name: nothing is imported that the application did not."""
_FLOWS: Final = frozenset({"team", "agent", "workflow"})
_OWN_TAGS: Final = "llamaindex."
"""What the tags of the framework itself begin with; the others are its user's."""


def kind_of(owner: type) -> str:
    """Return what the instances of a class are; found out once."""
    found = _kinds.get(owner)
    if found is None:
        if len(_kinds) >= _MAX_TYPES:
            _kinds.clear()
        found = next((_KINDS[base.__name__] for base in owner.__mro__ if base.__name__ in _KINDS), "")
        _kinds[owner] = found
    return found


_kinds: Final[dict[type, str]] = {}
_MAX_TYPES: Final = 1_000


@dataclass(slots=True)
class Run:
    """A run of a workflow that is open.

    Attributes:
        instance: The workflow.
        kind: One of `_KINDS`.
        member: The name of the agent whose turn it is, in a run of several.
        turn: Its number.
        limited: Whether the framework's limit of steps ended it, without raising.
        error: What its last step failed with.
    """

    instance: Any
    kind: str
    member: str | None = None
    turn: int = 0
    limited: bool = False
    error: BaseException | None = None

    def place(self, key: str) -> str:
        """Return the key of what is under way: of the run, or of the agent whose turn it is."""
        return f"{key}/{self.turn}" if self.turn else key


@dataclass(slots=True)
class Step:
    """A step of a workflow that is open: its run, and for a step that calls a tool, whether that ran."""

    run: str
    name: str
    event: Any
    ran: bool = False


@dataclass(slots=True)
class Asked:
    """A model call that is open: the outer one that it is part of, whether events tell of it, whether it streams."""

    outer: str | None
    told: bool = False
    streams: bool = False


class Heard:
    """Turns what is told into steps.

    Args:
        listener: Keeps them.
        targets: By kind and method.
    """

    def __init__(self, listener: Listener, targets: Callable[[], Mapping[tuple[str, str], Target]]) -> None:
        self._listener = listener
        self._targets = targets

    # -- spans ---------------------------------------------------------------------------------------------------------

    def entered(self, id_: str, bound_args: Any, instance: Any = None, parent_id: Any = None, tags: Any = None) -> None:
        """Know that a method begins."""
        name = id_[:-_ID_LENGTH].rpartition(".")[2]
        kind = kind_of(type(instance)) if instance is not None else ""
        above = self._listener.note(parent_id)
        call = told(instance, _users(tags), **bound_args.arguments)
        if isinstance(above, Run) and name != "run" and (kind in _FLOWS or instance is None):
            self._step_begins(id_, name, call, parent_id, above)
            return
        # what a caller does meanwhile has an open run for a parent in versions whose `run` leaves its id behind
        parent = None if isinstance(above, Run) else parent_id
        if name == "run" and kind in _FLOWS:
            self._run_begins(id_, kind, call, parent)
        else:
            self._begins(id_, (kind, name), call, parent, above)

    def _run_begins(self, id_: str, kind: str, call: Call, parent: Any) -> None:
        if kind == "team" and len(item(call.instance, "agents") or ()) == 1:
            kind = "agent"
        inside = "init_state" in call.kwargs  # since workflows 2: told in the task of the run, not by its future
        target = self._targets().get((kind, "run"))
        self._listener.begin(id_, target, call, parent=parent, attach=inside, note=Run(call.instance, kind))

    def _step_begins(self, id_: str, name: str, call: Call, parent: Any, run: Run) -> None:
        event = call.kwargs.get("ev")
        if run.kind == "team" and (member := item(event, "current_agent_name")) and member != run.member:
            self._turn(parent, run, str(member))
        note, target = Step(parent, name, event), None
        if not name.startswith("_"):
            target = self._targets().get(("step", ""))
        called = told(None, call.given, called=id_[:-_ID_LENGTH])
        self._listener.begin(id_, target, called, parent=run.place(parent), note=note)

    def _turn(self, key: str, run: Run, member: str) -> None:
        """Another agent of the run goes on."""
        if run.turn:
            self._listener.end(run.place(key), None)
        run.member, run.turn = member, run.turn + 1
        agent = run.instance.agents.get(member)
        target = self._targets().get(("member", ""))
        self._listener.begin(run.place(key), target, told(agent), parent=key, attach=False)

    def _begins(self, id_: str, what: tuple[str, str], call: Call, parent: Any, above: Any) -> None:
        target, note = self._targets().get(what), None
        if target is None:
            target, call = self._targets().get(("step", "")), told(None, call.given, called=id_[:-_ID_LENGTH])
        elif what[0] == "model":
            note = Asked((above.outer or parent) if isinstance(above, Asked) else None)
            self._note_limit(above, call.kwargs)
        elif what[0] == "tool" and isinstance(above, Step):
            above.ran = True
            call.kwargs["tool_id"] = item(above.event, "tool_id")
        self._listener.begin(id_, target, call, parent=parent, note=note)

    def _note_limit(self, above: Any, arguments: Mapping[str, Any]) -> None:
        """Know the last answer that an agent asks for where it may make no more steps (`early_stopping_method`)."""
        if not isinstance(above, Step) or above.name != "parse_agent_output":
            return
        last = (arguments.get("messages") or [None])[-1]
        run = self._listener.note(above.run)
        if isinstance(run, Run) and str(getattr(item(last, "role"), "value", "")) == "system":
            run.limited = True

    def exited(self, id_: str, result: Any = None) -> None:
        """Know what a method returned."""
        note = self._listener.note(id_)
        if isinstance(note, Asked) and (hasattr(result, "__next__") or hasattr(result, "__anext__")):
            note.streams = True
            self._listener.leave(id_, result)
        elif isinstance(note, Run):
            self._run_ends(id_, note, result)
        else:
            self._listener.end(id_, result)
            if isinstance(note, Step) and note.name == "call_tool" and not note.ran:
                self._refused(id_, note, result)

    def _run_ends(self, id_: str, run: Run, result: Any) -> None:
        if result is None and run.error is not None:
            self.dropped(id_, run.error)
            return
        if run.turn:
            self._listener.end(run.place(id_), None)
        self._listener.end(id_, Ended(result, "limit" if run.limited else None))

    def _refused(self, id_: str, step: Step, result: Any) -> None:
        """Record a tool call that the agent answered itself, for there is no such tool."""
        output, run = item(result, "tool_output"), self._listener.note(step.run)
        if output is None or not isinstance(run, Run):
            return
        names = ("tool_name", "tool_kwargs", "tool_id")
        call = told(None, **{name: item(step.event, name) for name in names})
        target, key = self._targets().get(("refused", "")), f"{id_}/refused"
        self._listener.begin(key, target, call, parent=run.place(step.run), attach=False)
        self._listener.end(key, output)

    def dropped(self, id_: str, err: BaseException | None = None) -> None:
        """Know that a method raised."""
        error = err if err is not None else RuntimeError()
        note = self._listener.note(id_)
        if isinstance(note, Run) and note.turn:
            self._listener.fail(note.place(id_), error)
        if isinstance(note, Step) and isinstance(run := self._listener.note(note.run), Run):
            run.error = None if type(error).__name__ == "WorkflowDone" else error
        self._listener.fail(id_, error)

    # -- events --------------------------------------------------------------------------------------------------------

    def told(self, event: Any) -> None:
        """Know an event, where it is one of a model call or a cancellation."""
        hear = _EVENTS.get(type(event).__name__)
        if hear is not None:
            hear(self, str(item(event, "span_id")), event)

    def _started(self, id_: str, _event: Any) -> None:
        if isinstance(note := self._listener.note(id_), Asked):
            note.told = True

    def _outer(self, id_: str) -> str | None:
        """Return the key of the model call that an event tells of, if its stream is read and no other event does."""
        note = self._listener.note(id_)
        if isinstance(note, Asked) and note.outer is not None:
            id_, note = note.outer, self._listener.note(note.outer)
            if isinstance(note, Asked) and note.told:
                return None
        return id_ if isinstance(note, Asked) and note.streams else None

    def _chunk(self, id_: str, event: Any) -> None:
        if (key := self._outer(id_)) is not None:
            self._listener.event(key, event.response)

    def _answered(self, id_: str, event: Any) -> None:
        for key in {id_, self._outer(id_)} if isinstance(self._listener.note(id_), Asked) else ():
            self._ends(key, event.response)

    def _ends(self, key: str | None, response: Any) -> None:
        note = self._listener.note(key)
        if isinstance(note, Asked) and note.streams:
            self._listener.end(key, response)

    def _raised(self, id_: str, event: Any) -> None:
        if (key := self._outer(id_)) is not None:
            self._listener.fail(key, event.exception)

    def _cancelled(self, id_: str, _event: Any) -> None:
        if isinstance(self._listener.note(id_), Run):
            self.dropped(id_, CancelledError())


_EVENTS: Final[Mapping[str, Callable[[Heard, str, Any], None]]] = {
    "LLMChatStartEvent": Heard._started,
    "LLMCompletionStartEvent": Heard._started,
    "LLMChatInProgressEvent": Heard._chunk,
    "LLMCompletionInProgressEvent": Heard._chunk,
    "LLMChatEndEvent": Heard._answered,
    "LLMCompletionEndEvent": Heard._answered,
    "ExceptionEvent": Heard._raised,
    "SpanCancelledEvent": Heard._cancelled,
}


def _users(tags: Any) -> dict[str, Any]:
    """Return what the framework's user tagged (`instrument_tags`)."""
    return {name: value for name, value in (tags or {}).items() if not str(name).startswith(_OWN_TAGS)}


# -- the dispatcher ----------------------------------------------------------------------------------------------------


def hearing(heard: Callable[[], Heard], name: str, names: Sequence[str]) -> Callable[[Any], Any]:
    """Return what makes of a method of the dispatcher one that is heard first.

    Args:
        heard: Gives who hears.
        name: The method's.
        names: Of its arguments, in their order.
    """
    hear = _METHODS[name]

    def make(original: Any) -> Any:
        @wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            refusal = None
            with guard("hearing LlamaIndex's dispatcher"):
                given = {"tags": _tags(original), **dict(zip(names, args, strict=False)), **kwargs}
                refusal = _heard(hear, heard(), {name: given[name] for name in names if name in given})
            if refusal is not None:
                raise refusal
            return original(self, *args, **kwargs)

        return method

    return make


_METHODS: Final[Mapping[str, Callable[[Heard, dict[str, Any]], None]]] = {
    "span_enter": lambda heard, given: heard.entered(**given),
    "span_exit": lambda heard, given: heard.exited(given["id_"], given.get("result")),
    "span_drop": lambda heard, given: heard.dropped(given["id_"], given.get("err")),
    "event": lambda heard, given: heard.told(given["event"]),
}


def carrying(sync_to_async: Any) -> Any:
    """Return what makes a tool's function a coroutine function, whose thread has the context of the call.

    Versions before 0.13 run it in a thread of a pool without.
    """

    @wraps(sync_to_async)
    def make(fn: Any) -> Any:
        plainly = sync_to_async(fn)

        @wraps(plainly)
        async def call(*args: Any, **kwargs: Any) -> Any:
            inside = plainly
            with guard("carrying the context into a thread"):
                inside = sync_to_async(carried(fn))
            return await inside(*args, **kwargs)

        return call

    return make


def _tags(original: Any) -> Any:
    """Return the tags in force: workflows 2 do not tell them of a run."""
    found = getattr(original, "__globals__", {}).get("active_instrument_tags")
    return found.get() if found is not None else None


def _heard(hear: Callable[[Heard, dict[str, Any]], None], by: Heard, given: dict[str, Any]) -> AgentGuardError | None:
    """Return the exception that a model call must not be made for."""
    try:
        hear(by, given)
    except AgentGuardError as error:
        return error
    return None
