"""Steps of a library that calls back when something begins and ends, found by the library's own keys.

A parent is found by its key, whatever thread or task it is told from. A step is made current by setting its context and
dropping the token: its end sets back what was current before, if the step is still current there, else it does nothing
(`contract.md`, manual spans).
"""

from __future__ import annotations

import functools
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context, create_key

from nexus_otel._guard import guard, new_lock, note_once
from nexus_otel.engine import scope
from nexus_otel.engine.driver import begin, tell
from nexus_otel.engine.handed import hand_out
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.limits import AgentGuardError
from nexus_otel.engine.run import given_run
from nexus_otel.engine.steps import SilentStep, Step
from nexus_otel.engine.streams import ABANDONED, Watch, at_end
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai import metadata
from nexus_otel.genai.operations import AgentRun, Remark

MAX_OPEN: Final = 100_000
"""Open steps of one library; the oldest is forgotten, and ended as abandoned."""
_TOLD: Final = create_key("nexus-otel-told")
"""Context key of the innermost key that a library told of."""
_listeners: weakref.WeakSet[Any] = weakref.WeakSet()


@dataclass(slots=True)
class _Open:
    """One thing that began and has not ended.

    Attributes:
        step: Its step; None where it is none of ours.
        context: What its children begin in.
        before: What was current before it, where it was made current.
        watch: Of its stream, once there is one.
        note: What the instrumentor keeps with it.
    """

    step: Step | SilentStep | None
    context: Context
    before: Context | None = None
    watch: Watch | None = None
    note: Any = None


class Listener:
    """What a library tells, as steps.

    Args:
        instrumentor: The class of whose targets they are; while it is off, nothing is recorded.
    """

    def __init__(self, instrumentor: type[Instrumentor]) -> None:
        self._instrumentor = instrumentor
        self._open: OrderedDict[Any, _Open] = OrderedDict()
        self._lock = new_lock()
        self._pid = os.getpid()
        _listeners.add(self)

    def begin(  # noqa: PLR0913 - not every library tells all of it
        self,
        key: Any,
        target: Target | None,
        call: Call,
        *,
        parent: Any = None,
        attach: bool = True,
        note: Any = None,
    ) -> None:
        """Know that something begins. What is none of ours, or noise, is passed over: its children find its parent.

        Args:
            key: The library's key of it.
            target: How it is read; None: it only stands between others.
            call: What the library tells of it, for the target's reader: `told` makes one.
            parent: The key of what it is part of, where the library tells.
            attach: Whether it is made current: only where its end is told from the same thread and task.
            note: What the instrumentor keeps with it until it ends.

        Raises:
            AgentGuardError: A limit was set, and the run of this model call has reached it.
        """
        refused: AgentGuardError | None = None
        with guard("hearing of a beginning"):
            if self._pid != os.getpid():
                self._pid, self._open = os.getpid(), OrderedDict()
            here = self._place(parent)
            if call.given:
                here = metadata.added(here, metadata.current().attributes(call.given))
            try:
                step = self._step(target, call, here)
            except AgentGuardError as error:
                refused, step = error, None
            context = step.context if step is not None and step.context is not None else here
            opened = _Open(step, Context({**context, _TOLD: key}), note=note)
            if refused is None:
                if attach:
                    opened.before = otel_context.get_current()
                    scope.enter(opened.context)
                self._keep(key, opened)
        if refused is not None:
            raise refused

    def _step(self, target: Target | None, call: Call, here: Context) -> Step | SilentStep | None:
        recorder = self._instrumentor._recorder if self._instrumentor._records else None
        return None if recorder is None or target is None else begin(recorder, target, call, here)

    def _place(self, parent: Any) -> Context:
        """Return the context in which something begins: the current one where that is under its parent."""
        here = otel_context.get_current()
        if parent is None or here.get(_TOLD) == parent:
            return here
        found = self._open.get(parent)
        return here if found is None else found.context

    def above(self, parent: Any) -> AgentRun | None:
        """Return the run that something belongs to which begins now, as part of `parent`."""
        run = given_run(self._place(parent))
        return run.agent if run is not None else None

    def _keep(self, key: Any, opened: _Open) -> None:
        with self._lock:
            self._open[key] = opened
            oldest = self._open.popitem(last=False)[1] if len(self._open) > MAX_OPEN else None
        if oldest is not None:
            note_once("open steps", "nexus-otel: too many steps are open; the oldest are ended")
            _abandon(oldest)

    def context(self, key: Any) -> Context | None:
        """Return the context of something that is open, for frames that make it current themselves."""
        found = self._open.get(key)
        return found.context if found is not None else None

    def step(self, key: Any) -> Step | None:
        """Return the step of something that is open, if it is recorded."""
        found = self._open.get(key)
        return found.step if found is not None and isinstance(found.step, Step) else None

    def note(self, key: Any) -> Any:
        """Return what the instrumentor keeps with something that is open; None where it is not."""
        found = self._open.get(key)
        return found.note if found is not None else None

    def event(self, key: Any, event: Any) -> None:
        """Know an event of the stream that answers something: the first one is its first chunk."""
        found = self._open.get(key)
        if found is None or not isinstance(found.step, Step):
            return
        with guard("hearing of an event"):
            if found.watch is None:
                found.watch = Watch(found.step)
            found.watch.event(event)

    def leave(self, key: Any, stream: Any = None) -> None:
        """Make something current no more though it goes on, such as a stream that was handed to its reader.

        Args:
            key: The library's key of it.
            stream: The library's own generator that was handed out: what runs in it is part of the step, which ends
                when nobody holds the generator any more.
        """
        found = self._open.get(key)
        if found is None:
            return
        _leave(found)
        if stream is None:
            return
        with guard("handing out a stream"):
            weakref.finalize(stream, self._dropped, key).atexit = False
            if isinstance(found.step, Step):
                found.watch = found.watch or Watch(found.step)
                hand_out(stream, found.step)

    def _dropped(self, key: Any) -> None:
        found = self._taken(key)
        if found is not None and found.watch is not None:
            with guard("hearing that a stream was dropped"):
                found.watch.stopped(ABANDONED)

    def remark(self, remark: Remark) -> None:
        """Know what the library says in passing of the step that is open here."""
        with guard("hearing a remark"):
            if self._instrumentor._records:
                tell(remark, otel_context.get_current())

    def end(self, key: Any, value: Any) -> None:
        """Know what came of something, as the target's reader takes it."""
        found = self._taken(key)
        if found is None or found.step is None:
            return
        with guard("hearing of an end"):
            if found.watch is not None:
                found.watch.answered(value)
            else:
                found.step.done(value)

    def fail(self, key: Any, error: BaseException) -> None:
        """Know that something failed."""
        found = self._taken(key)
        if found is None or found.step is None:
            return
        with guard("hearing of a failure"):
            if found.watch is not None:
                found.watch.failed(error)
            else:
                found.step.failed(error)

    def _taken(self, key: Any) -> _Open | None:
        with self._lock:
            found = self._open.pop(key, None)
        if found is not None:
            _leave(found)
        return found

    def end_all(self) -> None:
        """End what is open: the process ends, or the instrumentation is taken off."""
        with self._lock:
            left, self._open = list(self._open.values()), OrderedDict()
        for opened in reversed(left):
            _abandon(opened)


def told(instance: Any = None, given: Mapping[str, Any] | None = None, /, **arguments: Any) -> Call:
    """Return what a library tells as a call: of a method of `instance`, with arguments by name.

    Args:
        instance: What the method is bound to.
        given: What a person gave the library to find it by, for all that begins in it too.
        arguments: Of the method.
    """
    return Call(None, instance, (), arguments, given=given)


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, to be called in the context of now whatever thread calls it, such as one of a pool."""
    context = otel_context.get_current()

    @functools.wraps(function)
    def calling(*args: Any, **kwargs: Any) -> Any:
        token = scope.enter(context)
        try:
            return function(*args, **kwargs)
        finally:
            scope.leave(token)

    return calling


def _leave(opened: _Open) -> None:
    before, opened.before = opened.before, None
    if before is not None and otel_context.get_current() is opened.context:
        scope.enter(before)


def _abandon(opened: _Open) -> None:
    if isinstance(opened.step, Step):
        opened.step.finish(None, stream=ABANDONED)


def _end_all() -> None:
    for listener in list(_listeners):
        with guard("ending what is open"):
            listener.end_all()


at_end.append(_end_all)
