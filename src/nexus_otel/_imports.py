"""Calls a function when a module has been imported; the application's import goes on whatever happens in it.

Not wrapt's post-import hooks: importing wrapt alone takes longer than everything else that happens in a process that
imports no library we know (it imports asyncio).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

Action = Callable[[Any], object]
"""Given the module."""


def when_imported(name: str, action: Action) -> None:
    """Call `action` with the module `name`, now if it is imported, else when it will be.

    Args:
        name: Of the module, with its package.
        action: A failure of it is reported and goes no further.
    """
    with _finder.lock:
        module = sys.modules.get(name)
        loading = module is not None and getattr(getattr(module, "__spec__", None), "_initializing", False)
        if module is None or loading:
            _finder.actions.setdefault(name, []).append(action)
            if _finder not in sys.meta_path:
                sys.meta_path.insert(0, _finder)
            if not loading:
                return
    if module is not None and not loading:
        _run(name, [action], module)


def _run(name: str, actions: list[Action], module: Any) -> None:
    for action in actions:
        try:
            action(module)
        except Exception as error:  # noqa: BLE001 - ours: the application's import goes on
            from nexus_otel._guard import report

            report(f"instrumenting {name}", error)


class _Finder:
    """Finds the modules that are waited for, as the other finders do, and loads them with a word to us."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Action]] = {}
        self.lock = threading.RLock()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.actions:
            return None
        for finder in tuple(sys.meta_path):
            find = getattr(finder, "find_spec", None) if finder is not self else None
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None

    def loaded(self, module: Any) -> None:
        """Call what waited for `module`, and what those that are called wait for in their turn."""
        while True:
            with self.lock:
                actions = self.actions.pop(module.__name__, [])
            if not actions:
                return
            _run(module.__name__, actions, module)


class _Loader:
    """Loads a module as its own loader does, which it then leaves in its place."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _finder.loaded(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_finder = _Finder()
