"""The watcher of the launcher: a killed run arrives at once, and nobody notices the small process beside the program."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.kit import COMMAND, ERROR, LAUNCHER, PYTHON, RUN, shape
from tests.fakes.provider import Reply
from tests.faults.test_deaths import ASKS, CREATE, SLOW, until

WATCHED = {"NEXUS_WATCHER": "auto"}
LATE_S = 3.0
"""A second on a machine that is not busy; the tests' may be."""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
WAIT = "import sys; print('up', flush=True); sys.stdin.readline()\n"


def watchers(home):
    """The watchers of the programs that use a home."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            named = path.name.isdigit() and (path / "comm").read_text() == "nexus-watcher\n"
            if named and str(home).encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def waiting(world, **env):
    """Start a program that waits for a line, with its launcher and its watcher."""
    process = world.start(LAUNCHER, PYTHON, world.write("agent.py", WAIT), **{**WATCHED, **env})
    assert process.stdout.readline() == "up\n"
    return process


def gone(home, within_s=10):
    end = time.monotonic() + within_s
    while watchers(home):
        assert time.monotonic() < end, "a watcher stays"
        time.sleep(0.02)


TOOL = """
import loop, time
def tool(given):
    print("tool", flush=True)
    time.sleep(60)
loop.ask(tool=tool)
"""
KILLED = {
    # name: program, script, whether it is where it is to be killed, what is open, how many spans
    "in a call": (CREATE, [ASKS, SLOW], lambda world, _: until(lambda: len(world.requests) == 2), 4, 2),
    "in a tool": (TOOL, [ASKS], lambda _, process: process.stdout.readline(), 2, 1),
}


@pytest.mark.parametrize("name", KILLED)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_killed_run_arrives_whole_within_a_second(world, receiver, name, protocol):
    program, script, ready, all_of_it, failed = KILLED[name]
    world.load(script)
    there = receiver.listen_grpc() if protocol == "grpc" else receiver.url
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": there, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, **WATCHED}
    with world.start(LAUNCHER, PYTHON, world.write("agent.py", program), **env) as process:
        ready(world, process)
        time.sleep(0.2)
        process.kill()
        process.wait()
        died = time.monotonic()
        spans = receiver.wait_spans(all_of_it, 8)
        seconds = time.monotonic() - died
        process.communicate()
    print(f"arrived {seconds:.2f} s after the death")
    assert process.returncode == -signal.SIGKILL
    assert shape(spans) == (RUN if all_of_it == 4 else RUN[:2])
    errors = [span for span in spans if span.status == ERROR]
    assert {span.status_message for span in errors} == {"process ended before this span did"}
    assert len(errors) == failed
    assert seconds < LATE_S
    gone(world.home)
    assert len(receiver.spans) == all_of_it
    assert world.stored() == []


@LINUX
def test_a_watcher_is_there_only_for_an_endpoint(worlds):
    cases = {
        "local": ({}, 0),
        "endpoint": ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, 1),
        "traces": ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, 1),
        "local by name": ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "NEXUS_EXPORT": "local"}, 0),
        "otlp by name": ({"NEXUS_EXPORT": "local,otlp"}, 1),
        "off": ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "NEXUS_WATCHER": "off"}, 0),
        "inert": ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "NEXUS_ENABLED": "false"}, 0),
    }
    for env, count in cases.values():
        world = worlds()
        with waiting(world, **env) as process:
            time.sleep(0 if count else 0.3)  # it takes its name when it is there
            until(lambda home=world.home, count=count: len(watchers(home)) == count, 5)
            process.communicate("\n")
        gone(world.home, 3)


@LINUX
def test_a_watcher_has_nothing_of_the_program(world):
    with waiting(world, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as process:
        until(lambda: watchers(world.home), 5)
        (watcher,) = watchers(world.home)
        there = Path(f"/proc/{watcher}")
        descriptors = {str(path.readlink()) for path in (there / "fd").iterdir()}
        assert {one for one in descriptors if "pidfd" not in one} == {"/dev/null"}
        assert str((there / "cwd").readlink()) == "/"
        assert os.getsid(watcher) not in {os.getsid(0), os.getsid(process.pid)}
        assert os.getpgid(watcher) != os.getpgid(process.pid)
        command = (there / "cmdline").read_bytes()
        assert b"agent.py" not in command
        assert command.startswith(b"nexus-watcher")
        children = (Path(f"/proc/{process.pid}/task/{process.pid}/children")).read_text()
        assert children == ""
        process.communicate("\n")
    assert process.returncode == 0
    gone(world.home, 3)


def test_a_pipe_ends_with_the_program(world):
    command = f"{LAUNCHER} {PYTHON} -c 'print(1)' | cat"
    began = time.monotonic()
    done = world.run("/bin/sh", "-c", command, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **WATCHED)
    assert (done.code, done.out, done.err) == (0, "1\n", "")
    assert time.monotonic() - began < 5


@LINUX
@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_a_signal_to_the_group_ends_the_program_and_what_it_left_is_sent(world, receiver, ending):
    world.load([ASKS, SLOW])
    path = world.write("agent.py", CREATE)
    process = subprocess.Popen(
        [LAUNCHER, PYTHON, path], env=world.env(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **WATCHED), cwd=world.folder,
        process_group=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until(lambda: len(world.requests) == 2)
    time.sleep(0.2)
    os.killpg(process.pid, getattr(signal, ending))
    _, err = process.communicate(timeout=20)
    assert process.returncode == -getattr(signal, ending), err.decode()
    assert shape(receiver.wait_spans(4, 8)) == RUN
    gone(world.home)
    assert len(receiver.spans) == 4


@LINUX
@pytest.mark.parametrize("endpoint", ["dead", "hanging"])
def test_a_watcher_gives_up_soon_and_the_run_stays(world, receiver, endpoint):
    world.load([ASKS, SLOW])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        receiver.behaviour = "hang"
        address = f"http://127.0.0.1:{taken.getsockname()[1]}" if endpoint == "dead" else receiver.url
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, **WATCHED}
        with world.start(LAUNCHER, PYTHON, world.write("agent.py", CREATE), **env) as process:
            until(lambda: len(world.requests) == 2)
            process.kill()
            process.communicate()
        gone(world.home, 10)
    assert shape(world.stored()) == RUN


@LINUX
def test_a_flush_waits_for_what_a_watcher_is_sending(world, receiver):
    world.load([ASKS, SLOW])
    receiver.behaviour = "hang"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    with world.start(LAUNCHER, PYTHON, world.write("agent.py", CREATE), **env, **WATCHED) as process:
        until(lambda: len(world.requests) == 2)
        process.kill()
        process.communicate()
    asked = len(receiver.bodies)
    until(lambda: len(receiver.bodies) > asked)  # the watcher's request
    flushing = world.start(COMMAND, "flush", **env)
    time.sleep(1)
    receiver.behaviour = "ok"
    out, err = flushing.communicate(timeout=30)
    assert (flushing.returncode, err) == (0, "")
    assert {span.span_id for span in receiver.spans} == {span.span_id for span in receiver.wait_spans(4)}
    assert world.stored() == []
    assert out.startswith("sent ")
    gone(world.home)


def test_a_program_that_delivered_everything_leaves_the_watcher_nothing(world, receiver):
    world.load([ASKS, Reply("done")])
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "NEXUS_EXIT_TIMEOUT_S": "5", **WATCHED}
    done = world.launch("import loop; print(loop.ask())\n", **env)
    assert (done.code, done.out, done.err) == (0, "done\n", "")
    if sys.platform == "linux":
        gone(world.home, 3)
    assert shape(receiver.spans) == RUN
