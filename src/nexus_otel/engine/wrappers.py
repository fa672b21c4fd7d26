"""The wrapper of a method, which can be copied and pickled wherever the method can.

wrapt refuses both for its proxies (2.5), so that copying an object that keeps one of its own methods would fail only
because the method is wrapped.
"""

from __future__ import annotations

import copy
from typing import Any

import wrapt


class BoundWrapper(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]
    """A wrapped method of an object."""

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        owner = self._self_instance
        if owner is None or isinstance(owner, type):
            return self
        return self._self_parent.__get__(copy.deepcopy(owner, memo), type(owner))

    def __reduce_ex__(self, _protocol: Any) -> Any:
        owner = self._self_instance if self._self_instance is not None else self._self_owner
        return getattr, (owner, self.__name__)


class Wrapper(wrapt.FunctionWrapper):  # type: ignore[type-arg]
    """A wrapped function, such as a class holds it."""

    __bound_function_wrapper__ = BoundWrapper

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Any:
        return self
