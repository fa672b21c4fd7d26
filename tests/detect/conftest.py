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
