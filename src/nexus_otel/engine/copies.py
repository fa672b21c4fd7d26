"""Methods that other classes of a library took over when they were defined, as in `create = First.create`.

Bedrock's and Vertex AI's clients of the Anthropic SDK have their beta messages so. A class that is defined after a
method was wrapped has the wrapper; one that was defined before has the library's own function, and keeps it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from nexus_otel.engine import _bootstrap_importlib as frames


def classes_of(library: str) -> list[type]:
    """Return the classes in the loaded modules of a library, each once."""
    found: dict[int, type] = {}
    for _name, module in _modules_of(library):
        for one in list(vars(module).values()):
            kind = type(one)  # the very type: to ask a lazy stand-in for its class may run anything
            if kind is type or issubclass(kind, type):
                found[id(one)] = one
    return list(found.values())


def owning(library: str, names: frozenset[str]) -> dict[str, list[type]]:
    """Return the classes of a library that have attributes of these names as their own, by name."""
    found: dict[str, list[type]] = {name: [] for name in names}
    for one in classes_of(library):
        own = one.__dict__
        for name in names:
            if name in own:
                found[name].append(one)
    return found


def _modules_of(library: str) -> Iterator[tuple[str, Any]]:
    for name, module in sys.modules.copy().items():  # at once: a thread may import meanwhile
        if name == library or name.startswith(f"{library}."):
            yield name, module


def holders(classes: Iterable[type], name: str, original: Any) -> Iterator[type]:
    """Yield the classes that have a method itself, or a wrapper of ours around it, as their own."""
    for one in classes:
        held = one.__dict__.get(name)
        if held is not None and (held is original or _wraps(held, original)):
            yield one


def still_held(library: str, originals: Iterable[Any]) -> list[str]:
    """Return the names in a library, besides where they were defined, by which functions can still be called."""
    wanted = {id(one): one for one in originals}
    found = []
    for module, namespace in _modules_of(library):
        for name, value in vars(namespace).copy().items():
            defined = f"{getattr(wanted.get(id(value)), '__module__', module)}."
            if not defined.startswith(f"{module}."):
                found.append(f"{module}.{name}")
    for one in classes_of(library):
        held = [name for name, value in one.__dict__.items() if id(value) in wanted]
        found += [f"{one.__module__}.{one.__qualname__}.{name}" for name in held]
    return sorted(found)


def _wraps(held: Any, original: Any) -> bool:
    wrapper = getattr(held, "_self_wrapper", None) if type(held).__name__.endswith("FunctionWrapper") else None
    return getattr(wrapper, "__module__", None) == frames.__name__ and held.__wrapped__ is original
