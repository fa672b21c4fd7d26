"""A disk that hangs while an event loop runs: the loop waits for it once, and nothing is lost."""

import collections

import pytest

from tests.e2e.kit import LAUNCHER, PYTHON, RUN, World, shape, two_steps

PROGRAM = """
import asyncio, os, signal, sys, threading, time
import anthropic, loop
from nexus_otel.export import pace

pace.TRUST_S = 0.3
real, slow, waits, writers = os.write, False, [], []

def write(descriptor, data):
    if os.readlink(f"/proc/self/fd/{descriptor}").startswith(os.environ["NEXUS_HOME"]):
        writers.append(threading.get_ident())
        if slow:
            waits.append(threading.get_ident())
            time.sleep(0.3)
    return real(descriptor, data)

async def main():
    global slow
    client = anthropic.AsyncAnthropic(max_retries=0)
    ask = lambda name: loop.ask_async(name, client)
    here = threading.get_ident()
    await ask("first")
    slow = True
    for n in range(8):
        await ask(f"slow {n}")
        await asyncio.sleep(0.1)
    print(waits.count(here), len(waits) > 1)
    slow, began = False, time.monotonic()
    writers.clear()
    while here not in writers:
        assert time.monotonic() - began < 30
        await ask("again")
        await asyncio.sleep(0.06)
    print(time.monotonic() - began > 0.2)
    await ask("last")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)

os.write = write
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def done(provider, tmp_path_factory):
    world = World.made(provider, tmp_path_factory.mktemp("hung"), [step for _ in range(500) for step in two_steps()])
    path = world.write("agent.py", PROGRAM)
    return world.run(LAUNCHER, PYTHON, path, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_ONLY"), world


def test_the_loop_waits_for_the_disk_once_and_trusts_it_again(done):
    assert (done[0].code, done[0].out, done[0].err) == (-9, "1 True\nTrue\n", "")


def test_nothing_is_lost_though_the_process_is_killed(done):
    _, world = done
    stored = world.stored()
    runs = collections.Counter(span.trace_id for span in stored)
    assert 2 * len(runs) == len(world.requests)
    assert set(runs.values()) == {len(RUN)}
    assert {tuple(shape(s for s in stored if s.trace_id == run)) for run in runs} == {tuple(RUN)}
