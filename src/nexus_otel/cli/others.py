"""How often what was found in a run was found in other runs of its agent: as it was told then, on their roots."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.cli.filters import Wanted
from nexus_otel.cli.runs import Run
from nexus_otel.cli.sources import Source

_MOST: Final = 200
"""Runs of any agent, the newest of a store, that are looked at."""
_FEWEST: Final = 10
"""Runs without it, before a version that has it, from which on the version is likely the cause."""
VERSIONS: Final = ((semconv.AGENT_VERSION, "v{}"), (semconv.SERVICE_VERSION, "v{}"), (semconv.REVISION, "git {:.7}"))
"""What tells versions of an agent apart, the most telling first, and how each is shown."""


def others(source: Source, run: Run, mode: str) -> str:
    """Return in how many of the last runs of an agent a mode was found, before and since the version of this run began.

    Empty where there is no other run of the agent.
    """
    found = [each for each in islice(source.newest(Wanted()), _MOST) if each.agent == run.agent]
    if len(found) < 2:  # noqa: PLR2004 - itself and another
        return ""
    whole = f"Same finding: {_share(found, mode)} runs of {run.agent}"
    version = _version(run)
    began = min((each.start_ns for each in found if _version(each) == version), default=0)
    earlier = [each for each in found if each.start_ns < began]
    if not version or not earlier:
        return whole
    since = [each for each in found if each.start_ns >= began]
    is_new = len(earlier) >= _FEWEST and not any(_has(each, mode) for each in earlier)
    likely = f"  -> likely {version}" if is_new else ""
    return f"{whole}: {_share(since, mode)} since {version}, {_share(earlier, mode)} before{likely}"


def _share(runs: list[Run], mode: str) -> str:
    return f"{sum(_has(each, mode) for each in runs)} of {len(runs)}"


def _has(run: Run, mode: str) -> bool:
    told: Any = run.root.attributes.get(semconv.FINDINGS)
    return isinstance(told, list | tuple) and mode in told


def _version(run: Run) -> str:
    attributes = {**run.root.resource, **run.root.attributes}
    return next((form.format(attributes[key]) for key, form in VERSIONS if attributes.get(key)), "")
