"""What `nexus-otel doctor` looks at: libraries, the launcher, the store, destinations."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nexus_otel import config
from nexus_otel._environ import variables
from nexus_otel._guard import quietly

if TYPE_CHECKING:
    from nexus_otel.export.destinations import Destination

ANSWER_S: Final = 2.0
_PROBE_S: Final = 60.0
_ALL_IN_ONE: Final = ("traceloop-sdk", "openlit", "logfire", "langfuse", "ddtrace", "mlflow")
"""Distributions that wrap several libraries. Not langsmith: LangChain needs it, and it wraps nothing unasked."""
_ACTIVE: Final = """
import json, sys
f = sys.modules.get("nexus_otel.bootstrap.activate")
print("\\n" + json.dumps({"active": bool(f and f._active), "before": list(f.imported_before) if f else []}))
"""

Facts = dict[str, Any]


# -- libraries -----------------------------------------------------------------------------------------


def instrumentors() -> list[Facts]:
    """Return for each library that we record: whether it is there, fits, and what of it can be wrapped.

    Each is looked at in a process of its own, all at the same time.
    """
    from nexus_otel.bootstrap.activate import INSTRUMENTORS

    every = sorted({_normal(found.metadata["Name"] or "") for found in metadata.distributions()})
    with ThreadPoolExecutor() as pool:
        found = [pool.submit(_instrumentor, name, *where, every) for name, where in INSTRUMENTORS.items()]
        return [one.result() for one in found]


def _instrumentor(name: str, module: str, kind: str, installed: list[str]) -> Facts:
    from importlib import import_module

    instrumentor = getattr(import_module(module), kind)
    version = quietly(metadata.version, instrumentor.package)
    disabled = name in config.current().disabled or f"nexus_{name}" in config.disabled_instrumentations()
    found: Facts = {"name": name, "version": version, "requires": list(instrumentor.requires), "disabled": disabled}
    if version is None:
        return found
    return {
        **found,
        "in_range": not instrumentor.requires or any(_fits(version, each) for each in instrumentor.requires),
        **_probed(name),
        "others": [other for other in installed if _records(other, name)],
    }


def _fits(version: str, requirement: str) -> bool:
    from packaging.requirements import Requirement

    return Requirement(requirement).specifier.contains(version, prereleases=True)


def _records(distribution: str, library: str) -> bool:
    """Whether a distribution is another instrumentation of a library, or of many."""
    own = (
        rf"(openinference-instrumentation|opentelemetry-instrumentation(-genai)?)-{re.escape(_normal(library))}(-v\d+)?"
    )
    return distribution in _ALL_IN_ONE or re.fullmatch(own, distribution) is not None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _probed(name: str) -> Facts:
    """Return what of a library can be wrapped, as another process finds out."""
    # as where we record, and leaving nothing behind
    environment = {**variables(), "NEXUS_HASH_KEY": "doctor", "NEXUS_EXPORT": "none"}
    found = _run([sys.executable, "-m", "nexus_otel.bootstrap.probe", name], environment)
    answer = quietly(json.loads, found[0]) if found[0] else None
    return answer if isinstance(answer, dict) else {"failure": found[1] or "no answer"}


def _run(command: list[str], environment: dict[str, str]) -> tuple[str, str]:
    """Return the last line on stdout of a process, and the last on stderr."""
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter
            command, capture_output=True, text=True, errors="replace", timeout=_PROBE_S, check=False,
            env={**environment, "NEXUS_SUMMARY": "never"}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", type(error).__name__
    return (done.stdout.strip().splitlines() or [""])[-1], (done.stderr.strip().splitlines() or [""])[-1]


# -- the launcher --------------------------------------------------------------------------------------


def launcher() -> Facts:
    """Return whether `nexus-instrument` reaches this Python, tried out, and what might be in its way."""
    from nexus_otel.cli.instrument import booted, find
    from nexus_otel.cli.interpreter import problem

    environment = dict(variables())
    answer, said = _run([sys.executable, "-c", _ACTIVE], booted(environment))
    found = quietly(json.loads, answer)
    found = found if isinstance(found, dict) else {}
    first = find("python", environment)
    other = PathFinder.find_spec("sitecustomize", sys.path)
    return {
        "reached": bool(found.get("active")),
        "imported_before": found.get("before", []),
        "said": said,
        "pythonpath": variables().get("PYTHONPATH", ""),
        "sitecustomize": other.origin if other is not None else None,
        "python_on_path": first,
        "python_on_path_problem": problem(first, [], environment) if first else None,
    }


# -- where data goes -----------------------------------------------------------------------------------


def store() -> Facts:
    """Return what the local store holds, and what waits in it for whom."""
    from nexus_otel.export.places import is_remote, store_folders
    from nexus_otel.export.segment import is_orphan, read_header, segments
    from nexus_otel.export.shipment import Seen, SegmentSource

    home = config.home()
    paths = [path for folder in store_folders(home) for path in segments(folder)]
    waiting: Counter[str] = Counter()
    for path in paths:
        header = quietly(read_header, path)
        if header is None or not header.targets or not quietly(is_orphan, path, header.owner):
            continue
        for target in header.targets:
            left = quietly(SegmentSource(path, header, target, Seen(), live=False).count) or 0
            waiting.update({target.endpoint: left} if left else {})
    sizes = [found.st_size for path in paths if (found := quietly(path.stat)) is not None]
    return {
        "path": str(home),
        "writable": _is_writable(home),
        "remote": is_remote(home),
        "segments": len(paths),
        "bytes": sum(sizes),
        "undelivered": dict(waiting),
    }


def _is_writable(folder: Path) -> bool:
    """Whether a folder, or the nearest above it that exists, can be written to."""
    there = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def goes() -> list[str]:
    """Return where the spans of a program go that has no tracer provider of its own, in words.

    Raises:
        SettingError: A variable has none of its values.
    """
    from nexus_otel.bootstrap.plan import own_plan

    plan = own_plan(config.current())
    places = ["the local store"] if plan.local else []
    places += [plan.traces.endpoint] if plan.traces is not None else []
    return [*places, *(f"the exporter {name}" for name in plan.others)]


def destinations() -> list[Facts]:
    """Return the destinations of this environment, what each answers to an empty request, and why it takes none.

    Raises:
        SettingError: A variable has none of its values.
    """
    from nexus_otel.bootstrap.plan import own_plan

    found = own_plan(config.current()).destinations
    with ThreadPoolExecutor(max(1, len(found))) as pool:  # one that says nothing is waited for a few times
        return list(pool.map(_asked, found))


def _asked(one: Destination) -> Facts:
    from nexus_otel.cli.reach import cause
    from nexus_otel.export.answer import Outcome
    from nexus_otel.export.transport import Transport

    answer = Transport(one).post(b"", ANSWER_S)
    fine = answer.outcome is Outcome.DELIVERED
    found: Facts = {"signal": one.signal, "endpoint": one.endpoint, "answers": fine, "answer": answer.what}
    if fine:
        return found
    why = cause(one, answer)
    return {**found, "cause": why.kind, "why": why.what, "do": why.remedy}
