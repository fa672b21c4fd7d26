"""Programs that die in the middle of a run: what was recorded is there, and what was open ends as an error."""

import json
import os
import signal
import time

import pytest

from tests.e2e.kit import ERROR, LAUNCHER, PYTHON, RUN, World, finish, kind_of, quiet, shape, together, two_steps
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Reply, ToolUse

ASKS = Reply(tools=[ToolUse("look", {"key": "a"})])
SLOW = Reply("never", delay_s=60)
TRICKLE = Reply("one two three four five six seven eight nine ten", chunk_delay_s=0.3)

CREATE = "import loop\nloop.ask()\n"
STREAM = """
import loop
messages = [{"role": "user", "content": "x"}]
reply = loop.client().messages.create(**loop.request(messages))
loop.answer(reply, messages, str)
with loop.client().messages.stream(**loop.request(messages)) as stream:
    for event in stream:
        print(event.type, flush=True)
"""
BETWEEN = """
import loop, time
def tool(given):
    print("tool", flush=True)
    time.sleep(60)
loop.ask(tool=tool)
"""
KILLED = {
    # name: program, script, when to kill, shape of what is left, names of what was open
    "in a call": (CREATE, [ASKS, SLOW], lambda world, process: until(lambda: len(world.requests) == 2), RUN,
                  {"invoke_agent agent", "chat m"}),
    "in a stream": (STREAM, [ASKS, TRICKLE], lambda world, process: line(process, "content_block_delta"), RUN,
                    {"invoke_agent agent", "chat m"}),
    "between steps": (BETWEEN, [ASKS], lambda world, process: line(process, "tool"), RUN[:2], {"invoke_agent agent"}),
}  # fmt: skip


def until(true, timeout_s=30):
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def line(process, start):
    for text in process.stdout:
        if text.startswith(start):
            return
    raise AssertionError(process.stderr.read())


class Killed:
    """A run ended by SIGKILL, and what the commands say of it."""

    def __init__(self, provider, folder, name):
        program, script, when, self.shape, self.open = KILLED[name]
        self.world = World.made(provider, folder, script)
        with self.world.start(LAUNCHER, PYTHON, self.world.write("agent.py", program)) as process:
            try:
                when(self.world, process)
                time.sleep(0.1)
            finally:
                process.kill()
            process.communicate(timeout=20)
            self.code = process.returncode
        self.spans = self.world.stored()


@pytest.fixture(scope="module")
def killed(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    results = together(*(lambda name=name: Killed(provider, folder, name) for name in KILLED))
    return dict(zip(KILLED, results, strict=True))


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_is_there_with_what_was_open(killed, name):
    case = killed[name]
    assert case.code == -signal.SIGKILL
    assert shape(case.spans) == case.shape


@pytest.mark.parametrize("name", KILLED)
def test_what_was_open_ends_as_an_error_and_what_had_ended_does_not(killed, name):
    case = killed[name]
    failed = [span for span in case.spans if span.status == ERROR]
    assert sorted(span.name for span in failed) == sorted(case.open)
    assert {span.attributes["error.type"] for span in failed} == {"process_ended"}
    assert {span.attributes["nexus.replayed"] for span in failed} == {True}
    assert all(span.end_ns >= span.start_ns > 0 for span in case.spans)


@pytest.mark.parametrize("name", KILLED)
def test_an_open_root_ends_no_earlier_than_what_is_in_it(killed, name):
    spans = killed[name].spans
    (root,) = (span for span in spans if not span.parent_id)
    assert all(root.start_ns <= span.start_ns and span.end_ns <= root.end_ns for span in spans)


def test_traces_and_show_say_that_it_died(killed):
    world = killed["in a call"].world
    (run,) = json.loads(world.nexus("traces", "--json").out)["runs"]
    assert (run["status"], run["died"], run["error.type"]) == ("error", True, "process_ended")
    shown = world.nexus("show")
    assert shown.code == 0
    assert "execute_tool look" in shown.out
    (only,) = json.loads(world.nexus("traces", "--json", "--status", "error").out)["runs"]
    assert only["id"] == run["id"]


def test_the_question_of_a_killed_run_is_there(killed):
    done = killed["in a call"].world.nexus("show", "--content")
    assert "Where is it?" in done.out


# -- other ends ----------------------------------------------------------------------------------------

ENDS = {
    # name: what the tool does, exit code, whether the root is replayed
    "os._exit": ("os._exit(7)", 7, True),
    "os.abort": ("os.abort()", -signal.SIGABRT, True),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM, True),
    "exception": ("1 / 0", 1, False),
    "sys.exit": ("sys.exit(3)", 3, False),
    "interrupt": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", -signal.SIGINT, False),
    "thread": ("threading.Thread(target=lambda: time.sleep(9), daemon=True).start(); sys.exit(4)", 4, False),
}


def ending(what):
    return f"import loop, os, signal, sys, threading, time\ndef tool(given):\n    {what}\nloop.ask(tool=tool)\n"


@pytest.fixture(scope="module")
def ended(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ended")

    def one(what):
        bare, ours = (World.made(provider, folder) for _ in range(2))
        before = bare.bare(ending(what))
        after = ours.launch(ending(what))
        return before, after, ours.stored(), (bare, ours)

    results = together(*(lambda what=what: one(what) for what, _, _ in ENDS.values()))
    return dict(zip(ENDS, results, strict=True))


@pytest.mark.parametrize("name", ENDS)
def test_the_end_is_as_it_is_bare(ended, name):
    bare, done, _, worlds = ended[name]
    said = [one.err.replace(str(world.folder), "") for one, world in zip((bare, done), worlds, strict=True)]
    assert (done.code, done.out, said[1]) == (bare.code, bare.out, said[0])
    assert bare.code == ENDS[name][1]


@pytest.mark.parametrize("name", ENDS)
def test_the_run_is_there_whatever_the_end(ended, name):
    spans = ended[name][2]
    assert shape(spans) == RUN[:2]
    (root,) = (span for span in spans if kind_of(span) == "invoke_agent")
    assert root.attributes.get("nexus.replayed", False) is ENDS[name][2]


def test_the_next_process_sends_what_a_killed_one_left(provider, tmp_path):
    first = World.made(provider, tmp_path, [ASKS, SLOW])
    with Receiver() as receiver:
        there = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        receiver.behaviour = "503"
        with first.start(LAUNCHER, PYTHON, first.write("agent.py", CREATE), **there) as process:
            until(lambda: len(first.requests) == 2)
            process.kill()
            process.communicate()
        assert receiver.spans == []
        receiver.behaviour = "ok"
        first.load(two_steps())
        quiet(first.run(LAUNCHER, PYTHON, "agent.py", **there, NEXUS_EXIT_TIMEOUT_S="5"), "")
        spans = receiver.wait_spans(8)
    traces = {span.trace_id for span in spans}
    assert len(traces) == 2
    assert shape(spans) == sorted(RUN + RUN)
    assert len([span for span in spans if span.status == ERROR]) == 2
    assert len({span.span_id for span in spans}) == 8


def test_a_live_process_keeps_its_open_spans_to_itself(provider, tmp_path):
    world = World.made(provider, tmp_path, [ASKS, Reply("done", delay_s=3)])
    started = time.monotonic()
    with world.start(LAUNCHER, PYTHON, world.write("agent.py", "import loop\nprint(loop.ask())\n")) as process:
        until(lambda: len(world.requests) == 2)
        during = world.stored()
        done = finish(process, started)
    assert sorted(span.name for span in during) == ["chat m", "execute_tool look"]
    quiet(done, "done\n")
    assert shape(world.stored()) == RUN


def test_exec_in_the_middle_leaves_the_run(provider, tmp_path):
    world = World.made(provider, tmp_path)
    done = world.launch(ending("os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])"))
    quiet(done, "1\n")
    (root,) = (span for span in world.stored() if kind_of(span) == "invoke_agent")
    assert root.status == ERROR
    assert os.path.exists(world.home)  # noqa: PTH110 - a claim about the disk
