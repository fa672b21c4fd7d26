"""Agents in loops that people wrote, on OpenAI's SDK, that fail in each way; whether a tool failed is in its text only."""

from tests.findings.failing import FAILING, Failing, Framework
from tests.findings.suite import *  # noqa: F403

SLOW = Failing(FAILING["slow_tool"].script, {"latency_spike": "info"}, FAILING["slow_tool"].at)
"""Nobody watched the tool: a person may have sat in between."""
FRAMEWORK = Framework("on_openai.py", "gpt-4o-mini", other={"slow_tool": SLOW})
