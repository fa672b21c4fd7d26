"""What is wrapped, and the call as its reader sees it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nexus_otel.genai.operations import Failure, Operation, Result

if TYPE_CHECKING:
    from nexus_otel.engine.steps import SilentStep, Step


class BadCallError(Exception):
    """The arguments do not fit the method: the call will fail, as it does without us."""


@dataclass(slots=True)
class Call:
    """One call of a wrapped method, before it is made.

    Attributes:
        wrapped: The bound method.
        instance: What it is bound to.
        args: By position.
        kwargs: By name.
        other: The module of another instrumentation that wraps the same method.
        yields: Whether that one makes the model span of this call, and we make none.
        added: Arguments that are added where the call is recorded, by a setting of the user's.
        tapped: Whether some can be read only once: they are complete when the library has read them.
        given: What a person gave the library to find the call by, where it calls back.
    """

    wrapped: Any
    instance: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    added: Mapping[str, Any] = field(default_factory=dict)
    tapped: bool = False
    yields: bool = False
    other: str | None = None
    given: Mapping[str, Any] | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments by name, however they were passed.

        Raises:
            BadCallError: They do not fit the method.
        """
        if not self.args:
            return self.kwargs
        try:
            return _by_name(inspect.signature(self.wrapped), self.args, self.kwargs)
        except TypeError:
            raise BadCallError from None


def _by_name(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    found = dict(signature.bind_partial(*args, **kwargs).arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= found.pop(parameter.name, {})
    return found


class Fold(Protocol):
    """Gathers the events of a stream: strings and numbers are copied as an event passes, no event is kept.

    One that has an attribute `complete` says by it that all of the answer has arrived, though nobody read to the end.
    """

    def add(self, event: Any, /) -> None:
        """Take what is needed of one event."""

    def result(self) -> Result | None:
        """Return what the events amount to so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One method that is wrapped, and how it is read.

    Attributes:
        module: Where the method is defined.
        name: `Class.method` in it.
        request: Reads the call; None: the call is none of ours.
        response: Reads what the call returned.
        failure: Reads the exception that it raised.
        answered: Reads what was answered all the same off that exception: a library may raise over an answer.
        fold: Makes the fold for a streamed answer.
        settle: Takes the value returned: gives back what the caller gets, and sees to it that the step ends.
        control_flow: Names of the exceptions by which the library passes control, each with the word for what it does
            to a run (`nexus.run.closed_by`): they are no failures.
        deferred: For a method that makes its call later: given how to begin a step and what it returned.
        optional: A library without it is no cause for a warning.
        overridden: Whether it is wrapped in every subclass that overrides it too, of the library or its user.
        since: The first version of the library that has it.
        until: The first version that has it no more.
    """

    module: str
    name: str
    request: Callable[[Call], Operation | None]
    response: Callable[[Any], Result | None] | None = None
    failure: Callable[[BaseException], Failure] = field(default=lambda error: Failure(type(error).__name__, str(error)))
    answered: Callable[[BaseException], Result | None] | None = None
    fold: Callable[[], Fold] | None = None
    settle: Callable[[Step, Any], Any] | None = None
    control_flow: Mapping[str, str] = field(default_factory=dict)
    deferred: Callable[[Callable[[], Step | SilentStep | None], Any], Any] | None = None
    optional: bool = False
    overridden: bool = False
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Swap:
    """An attribute that is replaced by what `make` gives for it: our reach into what a library has for itself.

    Attributes:
        module: Where it is.
        name: `Class.attribute` in it, or a function.
        make: Given the original.
        since: The first version of the library that has it.
        until: The first version that has it no more.
        required: Whether a library without it is cause for a warning.
    """

    module: str
    name: str
    make: Callable[[Any], Any]
    since: str = ""
    until: str = ""
    required: bool = False


def release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def belongs(there: Target | Swap, version: str | None) -> bool:
    """Whether a version of the library has, by our table, what is wrapped; an unknown one has everything."""
    if version is None:
        return True
    return release(there.since) <= release(version) and (not there.until or release(version) < release(there.until))
