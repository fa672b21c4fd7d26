"""A small agent on each framework: a model call, a tool, a model call, over a transport in this process.

`AGENTS` makes what runs one, by the framework; `by_hand` writes the spans that somebody would for such a run.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Any

from opentelemetry import trace

os.environ |= {
    "OPENAI_API_KEY": "none", "ANTHROPIC_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_TESTING": "true",
}  # fmt: skip

MODEL = "gpt-4o"
QUESTION = "What does the word mean?"
ANSWER = "The answer is 42."
ARGUMENTS = {"word": "forty-two"}
SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
Run = Callable[[], Any]


def lookup(word: str) -> str:
    """Looks a word up."""
    return f"{word}: a number"


# -- the provider ------------------------------------------------------------------------------------------------------


def replies(*bodies: dict[str, Any]) -> None:
    """Let every connection of this process answer these in turn, over and over: for sync and async clients of httpx.

    It is put into the transports themselves, since not every framework lets its users give one to it.
    """
    answers = cycle([json.dumps(body).encode() for body in bodies])
    for name in ("httpx", "httpx2"):
        with suppress(ImportError):
            _answer(importlib.import_module(name), answers)
    with suppress(ImportError):
        _answer_dspy(importlib.import_module("dspy._vendor.lm15.transports"), answers)


def _answer(http: Any, answers: Any) -> None:
    counted = b'{"object": "response.input_tokens", "input_tokens": 50}'

    def respond(_transport: Any, request: Any) -> Any:
        counts = request.url.path.endswith("/input_tokens")  # CrewAI asks before it asks the model
        content = counted if counts else next(answers)
        return http.Response(200, content=content, headers={"content-type": "application/json"})

    async def respond_async(transport: Any, request: Any) -> Any:
        return respond(transport, request)

    http.HTTPTransport.handle_request = respond
    http.AsyncHTTPTransport.handle_async_request = respond_async


def _answer_dspy(http: Any, answers: Any) -> None:
    def respond(_transport: Any, _request: Any) -> Any:
        return http.TransportResponse(
            status=200, reason="OK", headers=[("content-type", "application/json")], http_version="HTTP/1.1",
            chunks=iter([next(answers)]), release=lambda *_, **__: None,
        )  # fmt: skip

    http.StdlibTransport.stream = respond


def completion(text: str | None, *, asks: bool = False) -> dict[str, Any]:
    """Return a chat completion: a text, or a call of the tool."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if asks:
        function = {"name": "lookup", "arguments": json.dumps(ARGUMENTS)}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    return {
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1, "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if asks else "stop"}],
        "usage": {"prompt_tokens": 996, "completion_tokens": 20, "total_tokens": 1016},
    }  # fmt: skip


def in_turn() -> None:
    """Let OpenAI's API ask for the tool, then answer."""
    replies(completion(None, asks=True), completion(ANSWER))


# -- the agents --------------------------------------------------------------------------------------------------------


def on_anthropic() -> Run:
    import anthropic

    def message(reason: str, *content: dict[str, Any]) -> dict[str, Any]:
        return {"id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-bench", "content": content,
                "stop_reason": reason, "stop_sequence": None,
                "usage": {"input_tokens": 996, "output_tokens": 20}}  # fmt: skip

    asked = {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": ARGUMENTS}
    replies(message("tool_use", asked), message("end_turn", {"type": "text", "text": ANSWER}))
    client = anthropic.Anthropic(open_telemetry=False)
    offered: Any = [{"name": "lookup", "description": "Looks a word up.", "input_schema": SCHEMA}]

    def run() -> str:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        while True:
            reply = client.messages.create(model="claude-bench", max_tokens=100, messages=messages, tools=offered)
            calls = [block for block in reply.content if block.type == "tool_use"]
            if not calls:
                return reply.content[0].text
            said = [{"type": "tool_result", "tool_use_id": each.id, "content": lookup(**each.input)} for each in calls]
            messages += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": said}]

    return run


def on_openai() -> Run:
    import openai

    in_turn()
    client = openai.OpenAI()
    function = {"name": "lookup", "description": "Looks a word up.", "parameters": SCHEMA}
    offered: Any = [{"type": "function", "function": function}]

    def run() -> str:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        while True:
            reply = client.chat.completions.create(model=MODEL, messages=messages, tools=offered).choices[0].message
            if not reply.tool_calls:
                return str(reply.content)
            messages.append(reply)
            for call in reply.tool_calls:
                said = lookup(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": said})

    return run


def on_langchain() -> Run:
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    in_turn()
    agent = create_agent(ChatOpenAI(model=MODEL, max_retries=0), [tool(lookup)], name="helper")
    return lambda: agent.invoke({"messages": [("user", QUESTION)]})["messages"][-1].content


def on_llama_index() -> Run:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai import OpenAI

    in_turn()
    model = OpenAI(model=MODEL, max_retries=0)
    agent = FunctionAgent(name="helper", description="Helps.", tools=[lookup], llm=model, streaming=False)

    async def ask() -> str:
        return str(await agent.run(QUESTION))

    return lambda: asyncio.run(ask())


def on_dspy() -> Run:
    import dspy

    def said(**fields: str) -> dict[str, Any]:
        return completion("\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()))

    replies(
        said(next_thought="I look.", next_tool_name="lookup", next_tool_args=json.dumps(ARGUMENTS), completed=""),
        said(next_thought="I know.", next_tool_name="finish", next_tool_args="{}", completed=""),
        said(reasoning="It is said so.", answer=ANSWER, completed=""),
    )
    dspy.configure(lm=dspy.LM(f"openai/{MODEL}", cache=False, num_retries=0), adapter=dspy.ChatAdapter())
    agent = dspy.ReAct("question -> answer", tools=[lookup])
    return lambda: agent(question=QUESTION).answer


def on_crewai() -> Run:
    from crewai import LLM, Agent
    from crewai.events.utils.console_formatter import set_suppress_console_output
    from crewai.tools import tool

    set_suppress_console_output(True)  # boxes that take longer to draw than the run
    in_turn()
    model = LLM(model=f"openai/{MODEL}")
    agent = Agent(role="Helper", goal="Help", backstory="Kind", tools=[tool("lookup")(lookup)], llm=model)
    return lambda: agent.kickoff(QUESTION).raw


AGENTS: dict[str, Callable[[], Run]] = {
    "anthropic": on_anthropic, "openai": on_openai, "langchain": on_langchain, "llama_index": on_llama_index,
    "dspy": on_dspy, "crewai": on_crewai,
}  # fmt: skip


# -- the floor ---------------------------------------------------------------------------------------------------------


def by_hand(tracer: trace.Tracer, calls: int) -> Run:
    """Return what writes the spans that somebody would for a run by hand: the run, its calls, its tool."""
    start = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}

    def write() -> None:
        with tracer.start_as_current_span("invoke_agent helper", attributes=start) as span:
            history = [_message("user", {"type": "text", "content": QUESTION})]
            for number in range(calls):
                _call(tracer, history)
                if not number:
                    _tool(tracer)
                    history.append(_message("tool", {"type": "tool_call_response", "id": "1", "response": "a number"}))
            said = [_message("assistant", {"type": "text", "content": ANSWER})]
            span.set_attributes(
                {
                    "gen_ai.input.messages": json.dumps(history[:1]),
                    "gen_ai.output.messages": json.dumps(said),
                    "gen_ai.usage.input_tokens": 996 * calls,
                    "gen_ai.usage.output_tokens": 20 * calls,
                }
            )

    return write


def _message(role: str, part: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": [part]}


def _call(tracer: trace.Tracer, history: list[dict[str, Any]]) -> None:
    start = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": MODEL,
             "server.address": "api.openai.com", "server.port": 443}  # fmt: skip
    with tracer.start_as_current_span(f"chat {MODEL}", kind=trace.SpanKind.CLIENT, attributes=start) as span:
        given = json.dumps(history)
        call = {"type": "tool_call", "id": "1", "name": "lookup", "arguments": ARGUMENTS}
        history.append(_message("assistant", call))
        span.set_attributes(
            {
                "gen_ai.request.max_tokens": 100,
                "gen_ai.response.id": "chatcmpl-bench",
                "gen_ai.response.model": MODEL,
                "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.usage.input_tokens": 996,
                "gen_ai.usage.output_tokens": 20,
                "gen_ai.tool.definitions": json.dumps([{"type": "function", "name": "lookup", "parameters": SCHEMA}]),
                "gen_ai.input.messages": given,
                "gen_ai.output.messages": json.dumps(history[-1:]),
            }
        )


def _tool(tracer: trace.Tracer) -> None:
    start = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup", "gen_ai.tool.type": "function",
             "gen_ai.tool.call.id": "1", "gen_ai.tool.description": "Looks a word up."}  # fmt: skip
    with tracer.start_as_current_span("execute_tool lookup", attributes=start) as span:
        span.set_attributes(
            {
                "gen_ai.tool.call.arguments": json.dumps(ARGUMENTS),
                "gen_ai.tool.call.result": json.dumps("forty-two: a number"),
            }
        )
