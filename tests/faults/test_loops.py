"""The event loops of others, greenlets and uvloop: runs never mix, none is lost, and nobody hears of it."""

import importlib.util
import json

import pytest

from tests.e2e.kit import LAUNCHER, PYTHON, RUN, SPAN_ONLY, World, kind_of, quiet, shape, together
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Reply, ToolUse

AGENTS = 20
PROGRAMS = {
    "gevent": """
from gevent import monkey
monkey.patch_all()
import logging, os
import gevent
#activate
import loop
logging.basicConfig(format="%(name)s %(message)s")
def agent(number):
    def tool(given):
        gevent.sleep(0.01 * (number % 3))
        return "found " + given["key"]
    return loop.ask(f"question {number:02}", loop.client(api_key=f"{os.environ['KEYS']}{number}"), tool)
def main():
    jobs = [gevent.spawn(agent, number) for number in range(AGENTS)]
    gevent.joinall(jobs, raise_error=True)
    return [job.value for job in jobs]
answers = main()
print(answers == [f"done {number}" for number in range(AGENTS)])
""",
    "uvloop": """
import logging, os
import anthropic, asyncio, uvloop
#activate
import loop
logging.basicConfig(format="%(name)s %(message)s")
async def agent(number):
    async with anthropic.AsyncAnthropic(max_retries=0, api_key=f"{os.environ['KEYS']}{number}") as client:
        if number % 2:
            return await loop.ask_async(f"question {number:02}", client, lambda given: "found " + given["key"])
        messages = [{"role": "user", "content": f"question {number:02}"}]
        while True:
            async with client.messages.stream(**loop.request(messages)) as stream:
                reply = await stream.get_final_message()
            if not loop.answer(reply, messages, lambda given: "found " + given["key"]):
                return reply.content[0].text
async def main():
    assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    return await asyncio.gather(*(agent(number) for number in range(AGENTS)))
answers = uvloop.run(main())
print(answers == [f"done {number}" for number in range(AGENTS)])
""",
}
WAYS = {
    # how it is activated, by a line in the program or by the launcher, and whether the spans are sent
    "launched": ("", False),
    "launched, sent": ("", True),
    "activated": ("import nexus_otel.auto", False),
    "activated, sent": ("import nexus_otel.auto", True),
}
CASES = {f"{library}, {way}": (library, way) for library in PROGRAMS for way in WAYS}


def one(provider, folder, library, way):
    """Run a program; what it said, and its spans."""
    if importlib.util.find_spec(library) is None:
        return None
    line, sent = WAYS[way]
    world = World.made(provider, folder)
    for number in range(AGENTS):
        asks = Reply(f"look {number}", tools=[ToolUse("look", {"key": f"question {number:02}"})], delay_s=0.05)
        provider.load([asks, Reply(f"done {number}", delay_s=0.01 * (number % 4))], f"{world.key}.{number}")
    program = PROGRAMS[library].replace("#activate", line).replace("AGENTS", str(AGENTS))
    with Receiver() as receiver:
        to = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url} if sent else {}
        launcher = [] if line else [LAUNCHER]
        path = world.write("agent.py", program)
        done = world.run(*launcher, PYTHON, path, KEYS=f"{world.key}.", **SPAN_ONLY, **to)
        return done, receiver.spans if sent else world.stored()


@pytest.fixture(scope="module")
def ran(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loops")
    results = together(*(lambda case=case: one(provider, folder, *case) for case in CASES.values()))
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_twenty_agents_at_once_are_twenty_right_runs(ran, name):
    if ran[name] is None:
        pytest.skip(f"{CASES[name][0]} is not installed")
    done, spans = ran[name]
    quiet(done, "True\n")
    by_trace = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    assert [shape(trace) for trace in by_trace.values()] == [RUN] * AGENTS
    asked = sorted(sorted(questions(trace)) for trace in by_trace.values())
    assert asked == [[f"question {number:02}"] for number in range(AGENTS)]


def questions(trace):
    """Whatever agent's question the spans of a trace speak of: what was asked, and what the tool was given."""
    chats = [span for span in trace if kind_of(span) == "chat"]
    asked = {json.loads(chat.attributes["gen_ai.input.messages"])[0]["parts"][0]["content"] for chat in chats}
    tools = [span for span in trace if kind_of(span) == "execute_tool"]
    return asked | {json.loads(tool.attributes["gen_ai.tool.call.arguments"])["key"] for tool in tools}
