"""Servers that fork, recycle and kill their workers: no span is lost, and none is sent by two processes."""

import contextlib
import re
import signal
import subprocess
import time
from collections import Counter

import pytest

from tests.e2e.kit import BIN, COMMAND, LAUNCHER, together
from tests.e2e.test_processes import free_port, get
from tests.fakes.otlp import Receiver

WSGI = """
import os
from opentelemetry import trace
tracer = trace.get_tracer("served")
with tracer.start_as_current_span(f"imported {os.getpid()}"):
    pass
def app(environ, start_response):
    with tracer.start_as_current_span(f"{environ['QUERY_STRING']} {os.getpid()}"):
        start_response("200 OK", [("content-type", "text/plain")])
        return [str(os.getpid()).encode()]
"""
GUNICORN = {
    "pre-fork": [],
    "preload": ["--preload"],
    "max-requests": ["--max-requests", "5"],
}
REQUESTS = 20
TASKS = """
import os
from celery import Celery
from opentelemetry import trace
tracer = trace.get_tracer("worked")
app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": "broker", "data_folder_out": "broker", "control_folder": "control"},
    task_ignore_result=True, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True,
)
@app.task
def work(number):
    with tracer.start_as_current_span(f"task{number} {os.getpid()}"):
        pass
    with open("done", "a") as file:
        file.write(f"{number}\\n")
"""
CELERY = {"a child a task": ["--max-tasks-per-child", "1"], "two children": []}
PUT = "import tasks\nfor number in range(20): tasks.work.delay(number)\n"


class Case:
    """Workers that were served, ended by SIGTERM, and what arrived."""

    def __init__(self, world, protocol, serve):
        with Receiver() as receiver:
            there = receiver.listen_grpc() if protocol == "grpc" else receiver.url
            env = {"OTEL_EXPORTER_OTLP_ENDPOINT": there, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "PYTHONPATH": "."}
            self.wanted = serve(world, env)
            self.flushed = world.run(COMMAND, "flush", **env)
            self.names = Counter(span.name for span in receiver.spans)
            self.identities = {
                name: {(span.trace_id, span.span_id, repr(sorted(span.resource.items()))) for span in receiver.spans
                       if span.name == name}
                for name in self.names
            }  # fmt: skip


def ended(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def gunicorn(options):
    def serve(world, env):
        world.write("served.py", WSGI)
        port = free_port()
        command = [BIN / "gunicorn", "-w", "2", *options, "-b", f"127.0.0.1:{port}", "served:app"]
        with world.start(LAUNCHER, *command, **env) as process:
            try:
                pids = [get(f"http://127.0.0.1:{port}/?q{number}") for number in range(REQUESTS)]
            finally:
                ended(process)
        return {f"q{number} {pid}" for number, pid in enumerate(pids)}

    return serve


def celery(options):
    def serve(world, env):
        for folder in ("broker", "control"):
            (world.folder / folder).mkdir()
        world.write("tasks.py", TASKS)
        world.bare(PUT, PYTHONPATH=".")
        command = [BIN / "celery", "-A", "tasks", "worker", "-c", "2", "-P", "prefork", "--without-mingle", *options]
        with world.start(LAUNCHER, *command, **env) as process:
            try:
                until = time.monotonic() + 60
                while len(numbers := done(world)) < REQUESTS and time.monotonic() < until:
                    time.sleep(0.1)
            finally:
                ended(process)
        return {f"task{number}" for number in numbers}

    return serve


def done(world):
    with contextlib.suppress(FileNotFoundError):
        return (world.folder / "done").read_text().split()
    return []


@pytest.fixture(scope="module")
def served(provider, tmp_path_factory):
    from tests.e2e.kit import World

    folder = tmp_path_factory.mktemp("workers")
    kinds = {("gunicorn", name): gunicorn(options) for name, options in GUNICORN.items()}
    kinds |= {("celery", name): celery(options) for name, options in CELERY.items()}
    cases = {(*kind, protocol): serve for kind, serve in kinds.items() for protocol in ("http/protobuf", "grpc")}
    made = {case: World.made(provider, folder, []) for case in cases}
    results = together(*(lambda c=case, s=serve: Case(made[c], c[2], s) for case, serve in cases.items()))
    return dict(zip(cases, results, strict=True))


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("name", GUNICORN)
def test_gunicorn_loses_no_request(served, name, protocol):
    case = served["gunicorn", name, protocol]
    assert case.flushed.code == 0, case.flushed.err
    assert {one for one in case.names if one.startswith("q")} == case.wanted
    assert set(case.names.values()) == {1}
    masters = [one for one in case.names if one.startswith("imported")]
    assert len(masters) == 1 if name == "preload" else len(masters) >= 2


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("name", CELERY)
def test_celery_loses_no_task(served, name, protocol):
    case = served["celery", name, protocol]
    assert case.flushed.code == 0, case.flushed.err
    assert len(case.wanted) == REQUESTS
    assert {one.split()[0] for one in case.names} == case.wanted
    assert set(case.names.values()) == {1}
    if name == "a child a task":
        assert len({one.split()[1] for one in case.names}) == REQUESTS


def test_no_span_has_two_identities(served):
    for case in served.values():
        assert {len(seen) for seen in case.identities.values()} == {1}
        assert all(re.fullmatch(r"(q\d+|task\d+|imported) \d+", name) for name in case.names)
