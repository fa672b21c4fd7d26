"""Objects of other people that were seen before, whatever they are: hashable or not, weakly referred to or not."""

from __future__ import annotations

import weakref
from typing import Any


class Seen:
    """The objects that were seen. One that cannot be referred to weakly is kept for good; few are."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def first(self, one: Any) -> bool:
        """Whether an object is seen for the first time."""
        key = id(one)
        if key in self._seen:
            return False
        try:
            self._seen[key] = weakref.ref(one, lambda _gone: self._seen.pop(key, None))
        except TypeError:
            self._seen[key] = one
        return True
