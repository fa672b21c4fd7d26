"""An agent on DSPy's `ReAct`."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import dspy
from tools import MODEL, QUESTION, TOOLS, runs


def ask(key):
    place = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": key}
    model = dspy.LM(f"openai/{MODEL}", cache=False, num_retries=0, max_tokens=100, **place)
    with dspy.context(lm=model, adapter=dspy.ChatAdapter()):
        dspy.ReAct("question -> answer", tools=list(TOOLS), max_iters=20)(question=QUESTION)


runs(ask)
