"""Agents that fail in each way, run as a person runs them."""

import pytest

from tests.fakes.provider import Reply
from tests.findings.failing import Framework
from tests.findings.suite import *  # noqa: F403
from tests.frameworks.dspy.programs import acts, said

pytestmark = pytest.mark.filterwarnings("ignore")  # what its own calls leave open
FRAMEWORK = Framework(
    "on_dspy.py",
    "gpt-4o-mini",
    asks=lambda tool, given, usage: acts(tool, given, usage=usage),
    says=lambda usage: [
        acts("finish", {}, usage=usage),
        Reply(said(reasoning="I looked.", answer="It is done."), usage=usage),
    ],
)
