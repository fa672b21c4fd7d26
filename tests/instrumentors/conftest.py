"""Fixtures of the kit; and of each library the tests only where it is installed, for each set of requirements has few."""

from importlib.util import find_spec

import pytest

pytest.register_assert_rewrite("tests.kit")

from tests.kit.fixtures import (  # noqa: E402 - after its assertions are rewritten
    no_foreign_settings,
    opentelemetry_is_silent,
    our_failures_surface,
    provider,
    running_provider,
)

__all__ = ["no_foreign_settings", "opentelemetry_is_silent", "our_failures_surface", "provider", "running_provider"]

_TESTS_OF = {
    "anthropic": ["test_anthropic*.py", "test_completion.py", "test_problems.py"],
    "openai": ["test_openai*.py"],
}
collect_ignore_glob = [tests for library, files in _TESTS_OF.items() if find_spec(library) is None for tests in files]
