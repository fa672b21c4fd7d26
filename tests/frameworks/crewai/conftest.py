"""CrewAI offline: no telemetry, no questions asked, a folder of its own for what it keeps."""

import tempfile
import warnings

import pytest

from nexus_otel._environ import set_variable

# before the library is imported, which reads them then
for _name, _value in {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_TESTING": "true",
    "CREWAI_STORAGE_DIR": tempfile.mkdtemp(prefix="crewai-"),
}.items():
    set_variable(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import warns
    import crewai  # noqa: F401


def pytest_configure(config: pytest.Config) -> None:
    """Let CrewAI leave connections of its async clients open when its event loops end."""
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
