"""A loop on Anthropic's SDK as people write it."""

import anthropic
from tools import MODEL, QUESTION, TOOLS, called, runs, schema

OFFERED = [{"name": tool.__name__, "description": tool.__doc__, "input_schema": schema(tool)} for tool in TOOLS]


def ask(key):
    messages = [{"role": "user", "content": QUESTION}]
    with anthropic.Anthropic(api_key=key, max_retries=0) as client:
        while True:
            reply = client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=OFFERED)
            asked = [block for block in reply.content if block.type == "tool_use"]
            if not asked:
                return
            messages += [
                {"role": "assistant", "content": reply.content},
                {"role": "user", "content": [answer(block) for block in asked]},
            ]


def answer(block):
    said, failed = called(block.name, block.input)
    return {"type": "tool_result", "tool_use_id": block.id, "content": said, "is_error": failed}


runs(ask)
