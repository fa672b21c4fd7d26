"""The model and the worlds of the tests of the collector."""

from tests.e2e.conftest import provider, receiver, world

__all__ = ["provider", "receiver", "world"]
