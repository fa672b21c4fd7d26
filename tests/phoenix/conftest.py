"""The server, the model and the worlds of the tests with Phoenix."""

import pytest

from tests.e2e.conftest import provider, world
from tests.phoenix.server import missing, serving

__all__ = ["provider", "world"]


@pytest.fixture(scope="session")
def phoenix(tmp_path_factory):
    """A Phoenix for all of the tests, each with a session of its own."""
    if why := missing():
        pytest.skip(why)
    with serving(tmp_path_factory.mktemp("phoenix")) as running:
        yield running
