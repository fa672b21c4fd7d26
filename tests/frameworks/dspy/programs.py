"""DSPy as the tests use it: a model at the scripted provider, and what a model says in DSPy's text protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import Any

import dspy

from nexus_otel.engine.target import release
from tests.fakes.provider import Reply, ToolUse, Usage
from tests.kit.cases import CANARY

VERSION = release(version("dspy"))
HAS_REACT_V2 = VERSION >= (3, 3)


def model(url: str, key: str, **options: Any) -> dspy.LM:
    """Return a model at the scripted provider, which neither remembers nor tries again."""
    options = {"cache": False, "num_retries": 0, "temperature": 0.5, "max_tokens": 64, **options}
    return dspy.LM(options.pop("model", "openai/gpt-test"), api_base=f"{url}/v1", api_key=key, **options)


@contextmanager
def client(url: str, key: str, **options: Any) -> Iterator[dspy.LM]:
    """Make a model the one that programs ask."""
    lm = model(url, key, **options)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        yield lm


@asynccontextmanager
async def async_client(url: str, key: str, **options: Any) -> AsyncIterator[dspy.LM]:
    """Make a model the one that programs ask."""
    with client(url, key, **options) as lm:
        yield lm


# -- what a model says -------------------------------------------------------------------------------------------------


def said(**fields: Any) -> str:
    """Return fields as the chat adapter reads them."""
    texts = [f"[[ ## {name} ## ]]\n{value}" for name, value in {**fields, "completed": ""}.items()]
    return "\n\n".join(texts)


def acts(tool: str, arguments: Mapping[str, Any], **more: Any) -> Reply:
    """Return a step of `ReAct`."""
    text = said(next_thought=f"{CANARY}!", next_tool_name=tool, next_tool_args=json.dumps(dict(arguments)))
    return Reply(text, **more)


FINISH = acts("finish", {})
ANSWER = Reply(said(reasoning=f"I saw the {CANARY}.", answer=f"The {CANARY} sits in its cage."))
PLAIN = Reply(said(answer=f"The {CANARY} sits in its cage."))
FIND = acts("find", {"bird": CANARY})


def asks(*tools: tuple[str, Mapping[str, Any]], **more: Any) -> Reply:
    """Return a step of `ReActV2`: native tool calls."""
    return Reply(tools=[ToolUse(name, arguments) for name, arguments in tools], **more)


SUBMIT = asks(("submit", {"answer": f"The {CANARY} sits in its cage."}))
RICH = Usage(input=7, output=50, cache_read=30, thinking=12)


# -- what is run -------------------------------------------------------------------------------------------------------

QUESTION = f"Where is the {CANARY}?"


def find(bird: str = CANARY) -> str:
    """Finds a bird."""
    return f"{bird}: in the cage"


async def find_async(bird: str = CANARY) -> str:
    """Finds a bird."""
    return f"{bird}: in the cage"


def fail(bird: str = CANARY) -> str:
    """Never finds a bird."""
    raise LookupError(f"no {bird}")


def agent(*tools: Any, **options: Any) -> Any:
    """Return an agent of the text protocol."""
    return dspy.ReAct("question -> answer", tools=list(tools or (find,)), **options)


def agent_v2(*tools: Any, **options: Any) -> Any:
    """Return an agent of native tool calls."""
    return dspy.ReActV2("question -> answer", tools=list(tools or (find,)), **options)


class Pipeline(dspy.Module):
    """A program of the user's."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = list(parts or (dspy.Predict("question -> answer"), dspy.Predict("question -> answer")))

    def forward(self, question: str) -> Any:
        return [part(question=question) for part in self.parts][-1]

    async def aforward(self, question: str) -> Any:
        return [await part.acall(question=question) for part in self.parts][-1]
