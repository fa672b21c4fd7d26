"""Run in a process of its own by `nexus-otel doctor`: what a library that is installed has of what is wrapped.

It is imported before it is wrapped, as in a program that activates too late: what escapes us then is found too.
It imports the library, whose import may fail, print or never end; the last line on stdout is the answer, as JSON.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from typing import Any

from nexus_otel._guard import quietly
from nexus_otel.bootstrap.activate import INSTRUMENTORS
from nexus_otel.engine.target import belongs


def probe(name: str) -> dict[str, Any]:
    """Return which patch points of an instrumentor the library has and which it lacks.

    Returns:
        `bound`, `missing` and `absent` (no harm) patch points, by name; `replaced` and `lost`, the same for what is
        replaced besides; `held`: what escapes us where the library is imported before we are active. `failure` alone
        where the library cannot be imported.
    """
    module, kind = INSTRUMENTORS[name]
    instrumentor = getattr(importlib.import_module(module), kind)
    try:
        importlib.import_module((*instrumentor.targets, *instrumentor.replacements)[0].module.partition(".")[0])
    except Exception as error:  # noqa: BLE001 - half installed: the program cannot import it either
        return {"failure": f"{type(error).__name__}: {error}"}
    found: dict[str, list[str]] = {"bound": [], "missing": [], "absent": [], "replaced": [], "lost": []}
    version = quietly(importlib.metadata.version, instrumentor.package)
    for target in [*instrumentor.targets, *(swap for swap in instrumentor.replacements if swap.required)]:
        if not belongs(target, version):
            continue
        lacking = "absent" if getattr(target, "optional", False) else "missing"
        symbol = f"{target.module}.{target.name}"
        found["bound" if _has(target.module, target.name) else lacking].append(symbol)
    for swap in instrumentor.replacements:
        if belongs(swap, version):
            known = "replaced" if _has(swap.module, swap.name) else "lost"
            found[known].append(f"{swap.module}.{swap.name}")
    return {**found, "held": _held(instrumentor)}


def _held(instrumentor: Any) -> list[str]:
    mine = not instrumentor().is_instrumented_by_opentelemetry
    instrumentor().instrument()
    held: list[str] = instrumentor.still_held()
    if mine:
        instrumentor().uninstrument()
    return held


def _has(module: str, path: str) -> bool:
    try:
        found: Any = importlib.import_module(module)
    except Exception:  # noqa: BLE001 - whatever the library raises: it cannot be wrapped
        return False
    owner_name, _, name = path.rpartition(".")
    owner = getattr(found, owner_name, None) if owner_name else found
    return owner is not None and name in vars(owner)


if __name__ == "__main__":
    print("\n" + json.dumps(probe(sys.argv[1])))  # noqa: T201 - the answer
