"""Forks, threads, tasks, cancellation: runs never mix, none is lost, and nobody hears of it."""

import json
import os
import signal
import time

import pytest

from tests.e2e.kit import ERROR, LAUNCHER, PYTHON, RUN, World, kind_of, quiet, shape, together, two_steps
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Reply, ToolUse

AGENTS = 50
ECHO = """
import asyncio, json, logging, sys, threading, warnings
import anthropic, httpx2
import loop
logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
logging.getLogger("httpx2").setLevel(logging.ERROR)
logging.getLogger("httpx").setLevel(logging.ERROR)

def reply(request):
    # a provider that repeats its ids: the same message and call ids for everyone
    body = json.loads(request.content)
    question = body["messages"][0]["content"]
    step = len(body["messages"]) // 2
    tools = [{"type": "tool_use", "id": f"toolu_{step}", "name": "look", "input": {"key": question, "step": step}}]
    content = [{"type": "text", "text": f"answer to {question} at {step}"}] + (tools if step < 3 else [])
    message = {
        "id": f"msg_{step}", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "tool_use" if step < 3 else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": len(question), "output_tokens": step},
    }
    return httpx2.Response(200, json=message)

async def slowly(request):
    await asyncio.sleep(0.001 * (hash(request.content) % 7))
    return reply(request)
"""
GATHER = ECHO + """
async def main():
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(slowly))
    async with anthropic.AsyncAnthropic(http_client=http, max_retries=0) as client:
        async def agent(number):
            question = f"question {number:02} " + "x" * number
            return question, await loop.ask_async(question, client, lambda given: "found " + given["key"])
        for question, answer in await asyncio.gather(*(agent(number) for number in range(AGENTS))):
            assert answer == f"answer to {question} at 3", (question, answer)
    print("all right")
asyncio.run(main())
""".replace("AGENTS", str(AGENTS))  # fmt: skip
THREADS = (
    ECHO
    + """
http = httpx2.Client(transport=httpx2.MockTransport(reply))
client = anthropic.Anthropic(http_client=http, max_retries=0)
wrong = []
barrier = threading.Barrier(16)
def agent(number):
    barrier.wait()
    for turn in range(3):
        question = f"question {number:02}.{turn} " + "x" * number
        answer = loop.ask(question, client, lambda given: "found " + given["key"])
        if answer != f"answer to {question} at 3":
            wrong.append((question, answer))
threads = [threading.Thread(target=agent, args=(number,)) for number in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("all right" if not wrong else wrong)
"""
)
SAME = ECHO + """
async def main():
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(slowly))
    async with anthropic.AsyncAnthropic(http_client=http, max_retries=0) as client:
        answers = await asyncio.gather(*(loop.ask_async("one question", client) for _ in range(AGENTS)))
    assert set(answers) == {"answer to one question at 3"}
    print("all right")
asyncio.run(main())
""".replace("AGENTS", str(AGENTS))  # fmt: skip


def traces(spans):
    found = {}
    for span in spans:
        found.setdefault(span.trace_id, []).append(span)
    return list(found.values())


def check(spans, expected):
    """Claim that each trace holds one agent's questions, answers, tools and tokens, and nothing of another's."""
    questions = []
    for trace in traces(spans):
        (root,) = (span for span in trace if not span.parent_id)
        chats = sorted((span for span in trace if kind_of(span) == "chat"), key=lambda span: span.start_ns)
        tools = sorted((span for span in trace if kind_of(span) == "execute_tool"), key=lambda span: span.start_ns)
        assert {span.parent_id for span in trace if span is not root} == {root.span_id}
        assert (kind_of(root), len(chats), len(tools)) == ("invoke_agent", 4, 3)
        first = json.loads(chats[0].attributes["gen_ai.input.messages"])
        question = first[0]["parts"][0]["content"]
        for step, chat in enumerate(chats):
            asked = json.loads(chat.attributes["gen_ai.input.messages"])
            answered = json.loads(chat.attributes["gen_ai.output.messages"])
            assert asked[0]["parts"][0]["content"] == question
            assert answered[0]["parts"][0]["content"] == f"answer to {question} at {step}"
            assert chat.attributes["gen_ai.usage.input_tokens"] == len(question)
        for tool in tools:
            assert json.loads(tool.attributes["gen_ai.tool.call.arguments"])["key"] == question
        assert root.attributes["nexus.usage.output_tokens"] == 0 + 1 + 2 + 3
        questions.append(question)
    assert sorted(questions) == sorted(expected)


def test_fifty_agents_at_once_are_fifty_right_traces(world):
    quiet(world.launch(GATHER), "all right\n")
    check(world.stored(), [f"question {number:02} " + "x" * number for number in range(AGENTS)])


def test_fifty_agents_with_one_question_are_fifty_traces(world):
    quiet(world.launch(SAME), "all right\n")
    check(world.stored(), ["one question"] * AGENTS)


def test_sixteen_threads_do_not_mix(world):
    quiet(world.launch(THREADS), "all right\n")
    check(world.stored(), [f"question {n:02}.{turn} " + "x" * n for n in range(16) for turn in range(3)])


# -- forks ---------------------------------------------------------------------------------------------

FORK = """
import loop, os, sys
made = []
def tool(given):
    child = os.fork()
    if child == 0:
        loop.ask("asked by the child", loop.client(api_key=os.environ["CHILD_KEY"]))
        {leave}
    made.append(os.waitpid(child, 0)[1])
    return "found"
print(loop.ask("asked by the parent", tool=tool), made)
"""


@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
def test_a_child_forked_in_a_run_makes_calls_of_its_own(worlds, leave):
    world, child = worlds(), worlds()
    quiet(world.launch(FORK.format(leave=leave), CHILD_KEY=child.key), "done [0]\n")
    spans = world.stored()
    assert len({span.span_id for span in spans}) == len(spans)
    parents = [s for s in spans if "asked by the parent" in str(s.attributes.get("gen_ai.input.messages"))]
    children = [s for s in spans if "asked by the child" in str(s.attributes.get("gen_ai.input.messages"))]
    assert len([span for span in parents if kind_of(span) == "chat"]) == 2
    assert len([span for span in children if kind_of(span) == "chat"]) == 2
    roots = [span for span in spans if kind_of(span) == "invoke_agent"]
    assert len(roots) == 2
    assert [span.status for span in roots] == [0, 0]
    (mine,) = (span for span in parents if kind_of(span) == "invoke_agent")
    assert shape([span for span in spans if span.parent_id == mine.span_id and span not in children] + [mine]) == RUN


def test_a_forked_child_sends_its_run_too(worlds):
    world, child = worlds(), worlds()
    with Receiver() as receiver:
        done = world.launch(
            FORK.format(leave="sys.exit(0)"), CHILD_KEY=child.key, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
        )
        spans = receiver.spans
    quiet(done, "done [0]\n")
    assert len(spans) == 2 * len(RUN)
    assert len({span.span_id for span in spans}) == len(spans)


# -- cancellation, closing, interrupts -----------------------------------------------------------------


def outcomes(world):
    """Status and stream outcome of each model call, in order."""
    chats = sorted((s for s in world.stored() if kind_of(s) == "chat"), key=lambda span: span.start_ns)
    return [(span.status, span.attributes.get("nexus.stream.outcome")) for span in chats]


def test_a_task_cancelled_in_a_call_is_no_error(worlds):
    world = worlds([Reply("never", delay_s=30)])
    program = """
    import anthropic, asyncio, loop
    async def main():
        client = anthropic.AsyncAnthropic(max_retries=0)
        try:
            await asyncio.wait_for(loop.ask_async("x", client), 0.5)
        except TimeoutError:
            print("timed out")
    asyncio.run(main())
    """
    quiet(world.launch(program), "timed out\n")
    assert outcomes(world) == [(0, "cancelled")]


def test_streams_cancelled_closed_left_and_broken_end_as_the_contract_says(worlds):
    slow = Reply("one two three four five six", chunk_delay_s=0.2)
    world = worlds([slow, slow, slow, slow])
    program = """
    import anthropic, asyncio, gc, loop
    asked = loop.request([{"role": "user", "content": "x"}])
    async def reads(client):
        async with client.messages.stream(**asked) as stream:
            async for event in stream:
                pass
    async def main():
        async with anthropic.AsyncAnthropic(max_retries=0) as client:
            task = asyncio.create_task(reads(client))
            await asyncio.sleep(0.7)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled")
    asyncio.run(main())
    client = loop.client()
    stream = client.messages.create(**asked, stream=True)
    print(next(iter(stream)).type)
    stream.close()
    with client.messages.stream(**asked) as stream:
        for event in stream:
            print(event.type)
            break
    try:
        with client.messages.stream(**asked) as stream:
            next(iter(stream))
            raise KeyError("mine")
    except KeyError as error:
        print(repr(error))
    """
    quiet(world.launch(program), "cancelled\nmessage_start\nmessage_start\nKeyError('mine')\n")
    assert outcomes(world) == [(0, "cancelled"), (0, "closed"), (0, "closed"), (ERROR, None)]


LET_GO = {
    "closed": "stream = client.messages.create(**asked, stream=True); next(iter(stream)); stream.close()",
    "closed and dropped": "stream = client.messages.create(**asked, stream=True); next(iter(stream)); stream.close(); del stream",
    "dropped": "stream = client.messages.create(**asked, stream=True); next(iter(stream)); del stream",
    "broken out of": """
with client.messages.stream(**asked) as stream:
    for event in stream:
        break
del stream
""",
}  # fmt: skip


@pytest.fixture(scope="module")
def let_go(provider, tmp_path_factory):
    """Programs that let go of a stream on a client that has one connection, and then ask again."""
    folder = tmp_path_factory.mktemp("let_go")

    def one(how):
        program = f"""
import gc, httpx2, loop
asked = loop.request([{{"role": "user", "content": "x"}}])
http = httpx2.Client(limits=httpx2.Limits(max_connections=1), timeout=httpx2.Timeout(20, pool=2))
client = loop.client(http_client=http)
{how}
gc.collect()
print(loop.ask(to=client))
"""
        made = [World.made(provider, folder, [Reply("one two three", chunk_delay_s=0.1), *two_steps()]) for _ in "ab"]
        return made[0].bare(program), made[1].launch(program), outcomes(made[1])

    return dict(zip(LET_GO, together(*(lambda how=how: one(how) for how in LET_GO.values())), strict=True))


@pytest.mark.parametrize("how", LET_GO)
def test_a_stream_let_go_is_as_it_is_bare_and_frees_its_connection(let_go, how):
    bare, ours, _ = let_go[how]
    assert (ours.code, ours.out, ours.err) == (bare.code, bare.out, bare.err)


@pytest.mark.parametrize("how", LET_GO)
def test_a_stream_let_go_ends_unset_and_says_how(let_go, how):
    expected = "abandoned" if how == "dropped" else "closed"
    assert let_go[how][2] == [(0, expected), (0, None), (0, None)]


def test_an_interrupt_in_a_call_ends_the_program_as_ever(provider, tmp_path):
    program = "import loop\ntry:\n    loop.ask()\nexcept KeyboardInterrupt:\n    print('interrupted')\n    raise\n"
    worlds = [World.made(provider, tmp_path, [*two_steps()[:1], Reply("never", delay_s=30)]) for _ in range(2)]

    def run(world, *launcher):
        path = world.write("agent.py", program)
        with world.start(*launcher, PYTHON, path) as process:
            end = time.monotonic() + 30
            while len(world.requests) < 2:
                assert time.monotonic() < end
                time.sleep(0.01)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        return process.returncode, out, err.splitlines()[-1]

    bare, ours = run(worlds[0]), run(worlds[1], LAUNCHER)
    assert ours == bare == (-signal.SIGINT, "interrupted\n", "KeyboardInterrupt")
    spans = worlds[1].stored()
    assert shape(spans) == RUN
    assert {s.attributes.get("error.type") for s in spans if s.status == ERROR} == {"KeyboardInterrupt"}


def test_the_log_of_detached_contexts_stays_silent(worlds):
    world = worlds([Reply("one two three", tools=[ToolUse("look", {"key": "a"})]), Reply("done")] * 3)
    program = """
    import asyncio, contextvars, gc, logging, sys, warnings, threading
    warnings.simplefilter("always")
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(name)s %(message)s")
    for name in ("httpx", "httpx2", "httpcore", "httpcore2", "anthropic", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    import anthropic, loop
    asked = loop.request([{"role": "user", "content": "x"}])
    async def events(client):
        async with client.messages.stream(**asked) as stream:
            async for event in stream:
                yield event
    async def main():
        async with anthropic.AsyncAnthropic(max_retries=0) as client:
            generator = events(client)
            await asyncio.create_task(anext(generator))     # begun in one task,
            await asyncio.create_task(generator.aclose())   # closed in another
            left = events(client)
            await anext(left)
            del left
            gc.collect()
            await asyncio.sleep(0.1)
    asyncio.run(main())
    stream = contextvars.copy_context().run(lambda: loop.client().messages.create(**asked, stream=True))
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    thread.join()
    print("done")
    """
    done = world.launch(program)
    assert done.out.splitlines()[-1] == "done"
    heard = [line for line in (done.out + done.err).splitlines() if "opentelemetry" in line or "nexus" in line]
    assert heard == []
    assert len([span for span in world.stored() if kind_of(span) == "chat"]) == 3


def test_the_programs_own_frames_of_a_traceback_are_the_bare_ones(provider, tmp_path):
    program = """
    import anthropic, loop, traceback
    try:
        loop.ask()
    except anthropic.BadRequestError as error:
        frames = [f.name for f in traceback.extract_tb(error.__traceback__) if "nexus_otel" not in f.filename]
        print(type(error).__name__, error.status_code, error.__cause__, error.__context__, frames)
    """
    from tests.fakes.provider import PROMPT_TOO_LONG

    worlds = [World.made(provider, tmp_path, [PROMPT_TOO_LONG]) for _ in range(2)]
    bare, ours = worlds[0].bare(program), worlds[1].launch(program)
    assert (ours.code, ours.out, ours.err) == (bare.code, bare.out, bare.err)
    assert os.linesep in bare.out
