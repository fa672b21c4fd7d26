"""An agent on LlamaIndex's `FunctionAgent`."""

import asyncio
import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.anthropic import Anthropic
from tools import MODEL, QUESTION, TOOLS, runs


async def asked(key):
    url = os.environ["ANTHROPIC_BASE_URL"]
    model = Anthropic(model=MODEL, base_url=url, api_key=key, max_retries=0, max_tokens=100)
    agent = FunctionAgent(name="helper", description="Helps.", tools=list(TOOLS), llm=model)
    try:
        await agent.run(QUESTION)
    finally:
        await model._aclient.close()


runs(lambda key: asyncio.run(asked(key)))
