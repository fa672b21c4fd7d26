"""DSPy is imported and called here first: it and LiteLLM warn of themselves then, once."""

import asyncio
import os
import warnings

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # LiteLLM fetches its prices at import otherwise

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dspy
    import dspy.predict

from tests.fakes.provider import Provider, Reply


@pytest.fixture(scope="session", autouse=True)
def called_before(running_provider: Provider) -> None:
    """Call a model once, sync and async: what is imported only then is there."""
    running_provider.load([Reply("yes"), Reply("yes")], "first")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lm = dspy.LM("openai/gpt-test", api_base=f"{running_provider.url}/v1", api_key="first", cache=False)
        lm("first")
        asyncio.run(lm.acall("first"))
