"""Methods that subclasses override: those that there are, and those that are still to be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from nexus_otel._guard import guard

_HOOK: Final = "__init_subclass__"
_ABSENT: Final = object()

Wrap = Callable[[Any], Any]
"""Given a method as a class holds it, gives the wrapper that takes its place, one of `wrapt`'s."""


class Overrides:
    """One method of a class that is wrapped wherever it is defined below the class.

    Args:
        base: The class.
        name: Of the method.
        wrap: Gives what takes the method's place.
    """

    def __init__(self, base: Any, name: str, wrap: Wrap) -> None:
        self._base = base
        self._name = name
        self._wrap = wrap
        self._hook_before: Any = base.__dict__.get(_HOOK, _ABSENT)
        self._hook = classmethod(self._hooked())
        setattr(base, _HOOK, self._hook)
        for kind in dict.fromkeys(_below(base)):
            self._place(kind)

    def _hooked(self) -> Callable[..., None]:
        before: Any = self._hook_before
        base: Any = self._base

        def init_subclass(cls: Any, **given: Any) -> None:
            if before is _ABSENT:
                super(base, cls).__init_subclass__(**given)
            else:
                before.__get__(None, cls)(**given)
            with guard("wrapping a subclass"):
                self._place(cls)

        return init_subclass

    def _place(self, kind: type) -> None:
        original = kind.__dict__.get(self._name)
        if original is None or getattr(original, "__isabstractmethod__", False):
            return
        ours = self._wrap(original)
        ours._self_placed_by = self
        setattr(kind, self._name, ours)

    @property
    def original(self) -> Any:
        """Nothing that anybody else can hold: the methods are each class's own."""
        return self

    def undo(self, _classes: list[type]) -> None:
        """Put the originals back; what another wrapped meanwhile stays as it is."""
        for kind in dict.fromkeys(_below(self._base)):
            ours: Any = kind.__dict__.get(self._name)
            if getattr(ours, "_self_placed_by", None) is self:
                setattr(kind, self._name, ours.__wrapped__)
        if self._base.__dict__.get(_HOOK) is self._hook:
            if self._hook_before is _ABSENT:
                delattr(self._base, _HOOK)
            else:
                setattr(self._base, _HOOK, self._hook_before)


def _below(base: Any) -> Iterator[Any]:
    for kind in base.__subclasses__():
        yield kind
        yield from _below(kind)
