"""The process's environment: the one place that touches it. Imports next to nothing, for activation uses it."""

from __future__ import annotations

import os
from collections.abc import Mapping


def variables() -> Mapping[str, str]:
    """Return the environment, for the standard variables that other modules interpret."""
    return os.environ  # noqa: TID251 - the one place


def set_variable(name: str, value: str) -> None:
    """Set a variable for this process and the children it starts."""
    os.environ[name] = value  # noqa: TID251 - the one place


def unset_variable(name: str) -> None:
    """Remove a variable that was set here."""
    os.environ.pop(name, None)  # noqa: TID251 - the one place
