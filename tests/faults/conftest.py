"""The model, the collector and the worlds of the fault tests."""

from tests.e2e.conftest import provider, receiver, world, worlds

__all__ = ["provider", "receiver", "world", "worlds"]
