"""Our own code made to raise, one place at a time: what the caller gets must not change."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.runs import Runs
from nexus_otel.engine.target import Target
from nexus_otel.genai.content import Content
from nexus_otel.genai.metrics import Meters
from nexus_otel.genai.operations import Inference
from nexus_otel.genai.recorder import Recorder
from tests.kit.cases import CANARY


class BrokenError(Exception):
    """Our own failure."""


class Fault:
    """One place that counts how often it is reached, and raises there while it is armed."""

    def __init__(self) -> None:
        self.armed = False
        self.hits = 0

    def at(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with the fault before it."""

        @functools.wraps(function)
        def faulty(*args: Any, **kwargs: Any) -> Any:
            self.hits += 1
            if self.armed:
                raise BrokenError(CANARY)
            return function(*args, **kwargs)

        return faulty


Change = Callable[[Target, Fault], Target]


def _field(name: str) -> Change:
    def change(target: Target, fault: Fault) -> Target:
        function = getattr(target, name)
        changes: dict[str, Any] = {} if function is None else {name: fault.at(function)}
        return replace(target, **changes)

    return change


def _of_fold(name: str) -> Change:
    def change(target: Target, fault: Fault) -> Target:
        make = target.fold
        if make is None:
            return target

        def fold() -> Any:
            made = make()
            setattr(made, name, fault.at(getattr(made, name)))
            return made

        return replace(target, fold=fold)

    return change


def _of_inference(name: str) -> Change:
    def change(target: Target, fault: Fault) -> Target:
        def request(call: Any) -> Any:
            operation = target.request(call)
            if isinstance(operation, Inference):
                setattr(operation, name, fault.at(getattr(operation, name)))
            return operation

        return replace(target, request=request)

    return change


_IN_TARGETS: Final[Mapping[str, Change]] = {
    **{name: _field(name) for name in ("request", "response", "failure", "fold", "settle", "deferred")},
    **{f"fold.{name}": _of_fold(name) for name in ("add", "result")},
    **{f"inference.{name}": _of_inference(name) for name in ("request", "conversation")},
}
_OF_ENGINE: Final[Mapping[str, tuple[type, str]]] = {
    **{
        f"recorder.{name}": (Recorder, name)
        for name in ("start_inference", "end_inference", "start_agent", "end_agent", "start_tool", "end_tool", "retry")
    },
    **{f"runs.{name}": (Runs, name) for name in ("join", "ended", "claim")},
    "finish": (Recorder, "_finish"),
    "attributes": (Recorder, "_inference_attributes"),
    "content": (Content, "capture"),
    "metrics": (Meters, "inference"),
    "log event": (Recorder, "_emit"),
}
FAULTS: Final = (*_IN_TARGETS, *_OF_ENGINE)
"""The places, by name."""
LEAVE_OPEN: Final = frozenset({"recorder.end_inference", "recorder.end_agent", "recorder.end_tool"})
"""Where the end itself is lost; after every other fault the span ends all the same."""


@contextmanager
def placed(instrumentor: type[Instrumentor], name: str) -> Iterator[tuple[type[Instrumentor], Fault]]:
    """Put a fault in one place.

    Args:
        instrumentor: The class under test.
        name: One of `FAULTS`.

    Yields:
        The instrumentor to use in its stead, and the fault, not armed.
    """
    fault = Fault()
    if name in _IN_TARGETS:
        change = _IN_TARGETS[name]
        targets = tuple(change(target, fault) for target in instrumentor.targets)
        heard = {kind: change(target, fault) for kind, target in instrumentor.heard.items()}
        with mock.patch.multiple(instrumentor, targets=targets, heard=heard):
            yield instrumentor, fault
        return
    owner, method = _OF_ENGINE[name]
    with mock.patch.object(owner, method, fault.at(getattr(owner, method))):
        yield instrumentor, fault
