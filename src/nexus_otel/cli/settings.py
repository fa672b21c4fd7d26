"""The settings that are set, and from where; never a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from nexus_otel import config
from nexus_otel._environ import variables

_SECRET: Final = re.compile(r"KEY|HEADERS|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_STANDARD: Final = re.compile(
    r"OTEL_(EXPORTER_OTLP_|TRACES_|METRICS_|LOGS_|RESOURCE_|PYTHON_|PROPAGATORS|\w+_LIMIT)\w*"
)
_ADDRESS: Final = re.compile(r"\w+://")
_ALIKE: Final = 0.88


def settings() -> list[dict[str, str]]:
    """Return name, value as it may be shown, and source of each setting that is set."""
    known = {entry.metadata["variable"] for entry in config.settings_table()}
    found = variables()
    names = sorted(name for name in found if name in known or name.startswith("NEXUS_") or _STANDARD.fullmatch(name))
    return [{"name": name, "value": _shown(name, found[name]), "source": "environment"} for name in names]


def misspelt() -> Iterator[tuple[str, str]]:
    """Yield each variable that looks like a setting of ours with a slip in it, and that setting."""
    known = [entry.metadata["variable"] for entry in config.settings_table()]
    for name in sorted(variables()):
        if name.startswith("NEXUS_") and name not in known:
            for meant in difflib.get_close_matches(name, known, 1, _ALIKE):
                yield name, meant


def _shown(name: str, value: str) -> str:
    if _SECRET.search(name):
        return "set, not shown"
    if not _ADDRESS.match(value):
        return value
    try:
        parts = urlsplit(value)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "set, not shown"
