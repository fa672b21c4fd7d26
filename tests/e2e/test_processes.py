"""Servers, children, scripts and the summary: each process records what it did, and only the outermost speaks."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from tests.e2e.kit import BIN, LAUNCHER, PYTHON, RUN, World, kind_of, quiet, shape, together, two_steps

ASK = "import loop; print(loop.ask())\n"

WSGI = """
import loop
def app(environ, start_response):
    text = loop.ask(environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("content-type", "text/plain")])
    return [text]
"""
ASGI = """
import anthropic, loop
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    async with anthropic.AsyncAnthropic(max_retries=0) as client:
        text = (await loop.ask_async(scope["query_string"].decode(), client)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})
"""
SERVERS = {
    "gunicorn": (WSGI, ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "served:app"]),
    "gunicorn --preload": (WSGI, ["gunicorn", "-w", "2", "--preload", "-b", "127.0.0.1:{port}", "served:app"]),
    "uvicorn": (ASGI, ["uvicorn", "--port", "{port}", "served:app"]),
}
REQUESTS = 6


def free_port():
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url, tries=150):
    for _ in range(tries):
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - it is ours
                return answer.read().decode()
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def serve(provider, folder, name):
    """Serve a few agent runs, stop the server as an operator does, and return what it said and left."""
    program, command = SERVERS[name]
    world = World.made(provider, folder, [])
    world.write("served.py", program)
    port = free_port()
    # one script for all workers: whoever asks first is asked for a tool, by the messages it sends
    world.load([step for _ in range(REQUESTS) for step in two_steps()])
    script = [str(BIN / command[0]), *(part.format(port=port) for part in command[1:])]
    with world.start(LAUNCHER, *script, PYTHONPATH=os.pathsep.join([world.env()["PYTHONPATH"], "."])) as process:
        try:
            texts = [get(f"http://127.0.0.1:{port}/?question{number}") for number in range(REQUESTS)]
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=30)
    return world, texts, (process.returncode, out, err)


@pytest.fixture(scope="module")
def served(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    results = together(*(lambda name=name: serve(provider, folder, name) for name in SERVERS))
    return dict(zip(SERVERS, results, strict=True))


@pytest.mark.parametrize("name", SERVERS)
def test_every_request_is_a_run_of_its_own(served, name):
    world, texts, _ = served[name]
    assert texts == ["done"] * REQUESTS
    traces = {}
    for span in world.stored():
        traces.setdefault(span.trace_id, []).append(span)
    assert len(traces) == REQUESTS
    for spans in traces.values():
        kinds = sorted(kind_of(span) for span in spans)
        assert kinds == ["chat", "chat", "execute_tool", "invoke_agent"]
        assert {span.status for span in spans} == {0}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_stops_as_ever_and_none_of_its_lines_is_ours(served, name):
    code, out, err = served[name][2]
    assert code in {0, -signal.SIGTERM}
    assert "nexus" not in out + err
    assert "Traceback" not in out + err


CHILDREN = """
import multiprocessing, os, sys
import loop

def work(question):
    return loop.ask(question)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    print(loop.ask("in the parent"))
    process = context.Process(target=work, args=("in a child",))
    process.start()
    process.join()
    with context.Pool(1) as pool:
        print(pool.map(work, ["in a pool"]))
        pool.close()
        pool.join()
    print(process.exitcode)
"""


@pytest.fixture(scope="module", params=["spawn", "fork", "forkserver"])
def children(request, provider, tmp_path_factory):
    world = World.made(provider, tmp_path_factory.mktemp(request.param), [s for _ in range(3) for s in two_steps()])
    return world, world.launch(CHILDREN, request.param)


def test_parents_and_children_print_as_ever(children):
    quiet(children[1], "done\n['done']\n0\n")


def test_each_child_records_its_own_run(children):
    spans = children[0].stored()
    asked = {}
    for span in spans:
        asked.setdefault(span.trace_id, []).append(span)
    assert [sorted(kind_of(span) for span in trace) for trace in asked.values()] == [
        ["chat", "chat", "execute_tool", "invoke_agent"]
    ] * 3
    questions = sorted(
        question
        for trace in asked.values()
        for question in ("in the parent", "in a child", "in a pool")
        if all(question in str(s.attributes["gen_ai.input.messages"]) for s in trace if kind_of(s) == "chat")
    )
    assert questions == ["in a child", "in a pool", "in the parent"]


def test_no_span_of_the_parents_is_recorded_twice(children):
    ids = [span.span_id for span in children[0].stored()]
    assert len(ids) == len(set(ids))


def test_a_shell_script_is_recorded_with_its_pipes_and_code(world):
    world.load([*two_steps(), *two_steps()])
    world.write("agent.py", ASK)
    script = world.write(
        "run.sh", "#!/bin/sh\npython agent.py | tr a-z A-Z\npython agent.py\nexit 3\n", executable=True
    )
    quiet(world.run(LAUNCHER, script), "DONE\ndone\n", 3)
    assert shape(world.stored()) == sorted(RUN + RUN)


# -- the summary ---------------------------------------------------------------------------------------


def on_a_terminal(world, *command, **env):
    """Run a program whose stderr is a terminal and whose stdout is a pipe."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL,
        cwd=world.folder, env={**world.env(**env), "TERM": "xterm", "COLUMNS": "100"},
    ) as process:  # fmt: skip
        os.close(theirs)
        with contextlib.suppress(OSError):  # the other side is closed
            while data := os.read(ours, 65536):
                shown += data
        out = process.stdout.read()
    os.close(ours)
    return process.returncode, out.decode(), shown.decode()


CHILD_TOO = (
    ASK + "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import loop; loop.ask()'], check=True)\n"
)


@pytest.fixture(scope="module")
def shown(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("summary")

    def one(program=ASK, steps=1, **env):
        world = World.made(provider, folder, [s for _ in range(steps) for s in two_steps()])
        return world, on_a_terminal(world, LAUNCHER, PYTHON, world.write("agent.py", program), **env)

    def piped(**env):
        world = World.made(provider, folder)
        return world, world.launch(ASK, **env)

    names = ["auto", "never", "child", "remote", "error", "piped", "always"]
    failing = "import loop\nloop.ask(tool=lambda given: 1/0)\n"
    results = together(
        one,
        lambda: one(NEXUS_SUMMARY="never"),
        lambda: one(CHILD_TOO, 2),
        lambda: one(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", NEXUS_EXIT_TIMEOUT_S="0.1"),
        lambda: one(failing),
        piped,
        lambda: piped(NEXUS_SUMMARY="always"),
    )
    return dict(zip(names, results, strict=True))


def test_a_terminal_gets_the_tree_and_stdout_nothing(shown):
    _, (code, out, err) = shown["auto"]
    assert (code, out) == (0, "done\n")
    assert "agent" in err
    assert all(part in err for part in ("invoke_agent agent", "chat m", "execute_tool look", "nexus-otel show"))


def test_the_command_of_the_summary_shows_that_run(shown):
    world, (_, _, err) = shown["auto"]
    run = err.partition("nexus-otel show ")[2].split()[0]
    done = world.nexus("show", run, "--content")
    assert done.code == 0
    assert "Where is it?" in done.out


def test_never_means_never(shown):
    assert shown["never"][1] == (0, "done\n", "")


def test_only_the_outermost_process_prints(shown):
    world, (code, out, err) = shown["child"]
    assert (code, out, err.count("nexus-otel show")) == (0, "done\n", 1)
    assert len({span.trace_id for span in world.stored()}) == 2


def test_with_a_collector_there_is_no_summary(shown):
    assert shown["remote"][1] == (0, "done\n", "")


def test_a_failed_program_gets_its_traceback_and_the_summary(shown):
    _, (code, out, err) = shown["error"]
    assert (code, out) == (1, "")
    assert err.index("ZeroDivisionError") < err.index("nexus-otel show")


def test_no_terminal_no_summary(shown):
    quiet(shown["piped"][1], "done\n")


def test_always_means_without_a_terminal_too(shown):
    done = shown["always"][1]
    assert (done.code, done.out, done.err.count("nexus-otel show")) == (0, "done\n", 1)
    assert "\x1b[" not in done.err
