"""What gRPC has of its own: codes, limits, certificates, channels, forks."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from nexus_otel import _guard
from nexus_otel.export.answer import Outcome
from nexus_otel.export.over_grpc import _failed
from nexus_otel.export.read import read_store
from tests.export.kit import SENDING, flush_in_vain, names, over_grpc, run, spans


@pytest.mark.parametrize(
    ("code", "retry_after"),
    [
        *((code, None) for code in ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")),
        ("RESOURCE_EXHAUSTED", 0.01),
    ],
)  # fmt: skip
def test_a_busy_collector_is_tried_again(receiver, pipeline, fast, code, retry_after):
    receiver.behaviour, receiver.retry_after = code, retry_after
    sender, tracer = pipeline(over_grpc(receiver.listen_grpc()))
    spans(tracer, "a")
    assert not sender.flush(0.2)
    assert len(receiver.bodies) > 1
    receiver.behaviour = "ok"
    assert sender.flush(5)
    assert names(receiver) == ["a"]


def test_retry_info_is_honoured_even_by_a_flush(receiver, address, pipeline, fast):
    receiver.behaviour, receiver.retry_after = "UNAVAILABLE", 1
    sender, tracer = pipeline(over_grpc(address))
    began = time.monotonic()
    spans(tracer, "a")
    assert not sender.flush(0.5)
    assert not sender.flush(0.1)
    assert len(receiver.bodies) == 1
    receiver.behaviour = "ok"
    assert sender.flush(5)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    "code", ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "INTERNAL"]
)
def test_a_refusal_keeps_the_data_and_names_the_endpoint(receiver, pipeline, fast, caplog, code):
    receiver.behaviour, address = code, receiver.listen_grpc()
    sender, tracer = pipeline(over_grpc(address, headers={"x-key": "secret"}))
    spans(tracer, "a")
    flush_in_vain(sender, caplog.records)
    receiver.behaviour = "ok"
    assert sender.flush(5)
    assert names(receiver) == ["a"]
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert code in line
    assert address in line
    assert "secret" not in line


def test_a_body_above_the_limit_is_split_and_a_record_above_it_is_cut(home, receiver, pipeline):
    sender, tracer = pipeline(over_grpc(receiver.listen_grpc(limit=25_000)))
    spans(tracer, *map(str, range(20)), text="x" * 5_000)
    spans(tracer, "large", text="x" * 50_000)
    spans(tracer, "last")
    assert sender.flush(10)
    sender.stop(1)
    assert names(receiver) == sorted([*map(str, range(20)), "large", "last"])
    (kept,) = read_store(home).spans
    assert (kept.name, len(kept.attributes["text"])) == ("large", 50_000)
    assert _guard.failures["sending a record that is too large, cut"] == 1


def test_bodies_stay_under_four_mebibytes(receiver, address, pipeline):
    sender, tracer = pipeline(over_grpc(address))
    spans(tracer, *map(str, range(12)), text="x" * 900_000)
    assert sender.flush(20)
    assert len(receiver.spans) == 12
    assert max(len(body.data) for body in receiver.bodies) < 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("code", "details", "size", "outcome"),
    [
        ("RESOURCE_EXHAUSTED", "", 100_000, Outcome.TOO_LARGE),
        ("RESOURCE_EXHAUSTED", "slow down", 1_000, Outcome.REFUSED),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", 9, Outcome.TOO_LARGE),
        ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4: 9", 9, Outcome.TOO_LARGE),
        ("OUT_OF_RANGE", "Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes", 9, Outcome.TOO_LARGE),
        ("OUT_OF_RANGE", "", 100_000, Outcome.AGAIN),
    ],
)  # fmt: skip
def test_a_small_request_is_not_too_large_unless_the_answer_says_so(code, details, size, outcome):
    assert _failed(code, details, (), size).outcome is outcome


@pytest.mark.parametrize("trailer", [b"", b"\xff", b"\x1a\x02\x0a\x00", b"not protobuf"])
def test_details_that_are_none_ask_for_no_wait(trailer):
    assert _failed("UNAVAILABLE", "", (("grpc-status-details-bin", trailer),), 9).wait_s is None


class Relay:
    """Passes one connection on to a server and keeps what the client sent."""

    def __init__(self, address):
        self._server = socket.create_server(("127.0.0.1", 0))
        self._there = address.removeprefix("http://").split(":")
        self.seen = bytearray()
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _serve(self):
        here, _address = self._server.accept()
        there = socket.create_connection((self._there[0], int(self._there[1])))
        back = threading.Thread(target=self._pass_on, args=(there, here, bytearray()), daemon=True)
        back.start()
        self._pass_on(here, there, self.seen)
        back.join()
        here.close()
        there.close()

    @staticmethod
    def _pass_on(source, sink, seen):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                seen += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._threads[0].join(5)
        self._server.close()


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_the_body_is_compressed_on_the_wire(address, pipeline, compression):
    relay = Relay(address)
    sender, tracer = pipeline(over_grpc(relay.url, compression=compression))
    spans(tracer, "a", text="x" * 50_000)
    assert sender.flush(5)
    sender.stop(2)
    relay.close()
    assert (len(relay.seen) > 50_000) is (compression == "none")
    assert (compression.encode() in relay.seen) or compression == "none"


def test_one_connection_serves_many_requests(address, pipeline):
    relay = Relay(address)
    sender, tracer = pipeline(over_grpc(relay.url))
    for name in ("a", "b", "c"):
        spans(tracer, name)
        assert sender.flush(5)
    sender.stop(2)
    relay.close()


def test_a_collector_that_comes_back_is_found_at_once(receiver, pipeline, fast):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    sender, tracer = pipeline(over_grpc(f"http://127.0.0.1:{port}"))
    spans(tracer, "a")
    assert not sender.flush(1)
    server = grpc.server(ThreadPoolExecutor(1))
    taken_names = []
    server.add_generic_rpc_handlers([Anything(taken_names)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    assert sender.flush(2)
    server.stop(None).wait()
    assert taken_names == ["/opentelemetry.proto.collector.trace.v1.TraceService/Export"]


class Anything(grpc.GenericRpcHandler):
    """Answers every call with an empty message."""

    def __init__(self, calls):
        self._calls = calls

    def service(self, handler_call_details):
        self._calls.append(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(lambda _data, _context: b"")


@pytest.fixture
def pair(tmp_path):
    """A key and a certificate of localhost, made now."""
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, pem


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")
def test_tls_with_certificates_on_both_sides(receiver, pipeline, pair):
    key, pem = pair
    both = grpc.ssl_server_credentials(
        [(key.read_bytes(), pem.read_bytes())], pem.read_bytes(), require_client_auth=True
    )
    url = receiver.listen_grpc(both)
    stranger, tracer = pipeline(over_grpc(url, certificate=str(pem)))
    spans(tracer, "a")
    assert not stranger.flush(0.5)
    known, tracer = pipeline(
        over_grpc(url, headers={"a": "b"}, certificate=str(pem), client_key=str(key), client_certificate=str(pem))
    )
    spans(tracer, "b")
    assert known.flush(5)
    assert names(receiver) == ["b"]


# -- the process that sends ------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["hang", "dead"])
def test_a_process_leaves_in_time_and_says_nothing(home, receiver, address, behaviour):
    receiver.behaviour = "hang"
    url = "http://127.0.0.1:9" if behaviour == "dead" else address
    began = time.monotonic()
    done = run(home, SENDING.format(url=url, protocol="grpc"))
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) < 1
    assert time.monotonic() - began < 5
    assert [span.name for span in read_store(home).spans] == ["a"]


def test_the_variable_that_quietens_grpc_is_not_left_behind(home, address):
    done = run(
        home,
        SENDING.format(url=address, protocol="grpc").replace("atexit.register(leave)", "sender.flush(5)")
        + "print(os.environ.get('GRPC_VERBOSITY'))\nsender.stop(1)\n",
    )
    assert (done.stdout, done.stderr) == ("None\n", "")


FORKED = "is multi-threaded, use of fork() may lead to deadlocks"
"""Python 3.12 and later say so of every process with a thread, ours or anybody's."""


@pytest.mark.parametrize("ending", ["os._exit(0 if sender.flush(5) else 1)", "sys.exit(0 if sender.flush(5) else 1)"])
def test_forked_children_send_their_own(home, receiver, address, ending):
    done = run(
        home,
        SENDING.format(url=address, protocol="grpc").replace("atexit.register(leave)", "")
        + f"""
with tracer.start_as_current_span("parent"):
    sender.flush(5)
    codes = []
    for number in range(5):
        tracer.start_span(f"before {{number}}").end()
        child = os.fork()
        if child == 0:
            tracer.start_span(f"child {{number}}").end()
            {ending}
        codes.append(os.waitpid(child, 0)[1])
print(codes, sender.flush(5))
sender.stop(1)
""",
    )
    said = [line for line in done.stderr.splitlines() if FORKED not in line and "os.fork()" not in line]
    assert (done.stdout, said) == ("[0, 0, 0, 0, 0] True\n", [])
    assert names(receiver) == sorted(["a", "parent", *(f"{who} {n}" for who in ("before", "child") for n in range(5))])
