"""A crew of one agent on CrewAI."""

import os
from unittest import mock

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_TESTING": "true"}

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from tools import MODEL, QUESTION, TOOLS, runs

OFFERED = [tool(one.__name__)(one) for one in TOOLS]


def ask(key):
    # 1.0 takes the key from the environment only, though the client's own parameters win
    with mock.patch.dict(os.environ, {"ANTHROPIC_API_KEY": "unused"}):
        url, given = os.environ["ANTHROPIC_BASE_URL"], {"api_key": key}
        model = LLM(model=f"anthropic/{MODEL}", base_url=url, client_params=given, max_retries=0, max_tokens=100)
    agent = Agent(role="Helper", goal="Help", backstory="Kind", tools=OFFERED, llm=model, max_retry_limit=0)
    task = Task(name="do", description=QUESTION, expected_output="It is done", agent=agent)
    Crew(name="crew", agents=[agent], tasks=[task]).kickoff()


runs(ask)
