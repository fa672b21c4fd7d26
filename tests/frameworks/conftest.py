"""Each folder is for one framework, named as its instrumentor, and needs an environment that has it."""

import importlib.util
from pathlib import Path

import pytest

PACKAGES = {"langchain": "langchain_core", "together": "litellm"}
"""The top-level module of a framework whose name is another."""

pytest.register_assert_rewrite("tests.kit")

from tests.kit.fixtures import (  # noqa: E402 - after its assertions are rewritten
    no_foreign_settings,
    opentelemetry_is_silent,
    our_failures_surface,
    provider,
    running_provider,
)

collect_ignore = [
    folder.name
    for folder in Path(__file__).parent.iterdir()
    if folder.is_dir()
    and not folder.name.startswith("_")
    and importlib.util.find_spec(PACKAGES.get(folder.name, folder.name)) is None
]

__all__ = ["no_foreign_settings", "opentelemetry_is_silent", "our_failures_surface", "provider", "running_provider"]
