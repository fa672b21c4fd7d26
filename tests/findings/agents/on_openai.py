"""A loop on OpenAI's SDK as people write it: whether a tool failed is in its text only."""

import json

import openai
from tools import MODEL, QUESTION, TOOLS, called, runs, schema

OFFERED = [
    {"type": "function", "function": {"name": tool.__name__, "description": tool.__doc__, "parameters": schema(tool)}}
    for tool in TOOLS
]


def ask(key):
    messages = [{"role": "user", "content": QUESTION}]
    with openai.OpenAI(api_key=key, max_retries=0) as client:
        while True:
            reply = client.chat.completions.create(model=MODEL, messages=messages, tools=OFFERED).choices[0].message
            messages.append(reply)
            for call in reply.tool_calls or ():
                said, _failed = called(call.function.name, json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": said})
            if not reply.tool_calls:
                return


runs(ask)
