"""What `doctor` says of a destination that takes nothing: each of the ways in which it can be wrong, tried out."""

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from nexus_otel.cli.reach import cause
from nexus_otel.export.answer import Outcome
from nexus_otel.export.destinations import GRPC, HTTP, JSON, Destination
from nexus_otel.export.transport import Transport
from tests.export.collector import Collector
from tests.fakes.otlp import Receiver

PROTOCOLS = (HTTP, GRPC)
BASE = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is the base, to which /v1/traces is added; "
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is the whole address"
)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")


def why(url, protocol=HTTP, **more):
    """The kind of a cause, in words, and what to do."""
    one = Destination("traces", url if protocol == GRPC else f"{url}/v1/traces", protocol=protocol, **more)
    answer = Transport(one).post(b"", 2)
    assert answer.outcome is not Outcome.DELIVERED
    found = cause(one, answer)
    return found.kind, found.what, found.remedy


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


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


@pytest.fixture
def secure(pair, receiver):
    """A collector behind TLS, by protocol; and its certificate."""
    key, pem = pair
    with over_tls(key, pem) as url:
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), pem.read_bytes())])
        yield {HTTP: url, GRPC: receiver.listen_grpc(credentials)}, str(pem)


@contextmanager
def over_tls(key, pem, ask_for=None):
    """A server of HTTP over TLS that takes everything."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_arguments):
            pass  # handshakes that fail are what is tried here

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    if ask_for is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ask_for)
    server = Quiet(("127.0.0.1", 0), Taking)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_listens(protocol):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    kind, what, do = why(f"http://127.0.0.1:{port}", protocol)
    assert (kind, what) == ("unreachable", f"nothing listens on 127.0.0.1:{port} (Connection refused)")
    assert do == "start a collector there, or correct OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_host_that_is_not_known(protocol):
    assert why("http://no-such-host.invalid:4318", protocol)[:2] == (
        "unknown_host", "the host no-such-host.invalid is not known",
    )  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_says_nothing(protocol):
    with socket.create_server(("127.0.0.1", 0)) as server:
        kind, what, _do = why(f"http://127.0.0.1:{server.getsockname()[1]}", protocol)
    assert kind == "silent"
    assert "no answer" in what


@pytest.mark.parametrize("status", [404, 405])
def test_a_path_that_is_not_there(status):
    with closing(Collector()) as collector:
        collector.always = status
        assert why(f"{collector.endpoint}/otel") == (
            "path", f"there is nothing at /otel/v1/traces (status {status})",
            BASE,
        )  # fmt: skip


@pytest.mark.parametrize("status", ["401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_key_that_is_missing_and_one_that_is_refused(receiver, status):
    receiver.behaviour = status
    protocol = GRPC if status.isupper() else HTTP
    url = receiver.listen_grpc() if protocol == GRPC else receiver.url
    kind, what, do = why(url, protocol)
    assert kind == "key"
    assert what.startswith("it asks for a key")
    assert do == "set OTEL_EXPORTER_OTLP_HEADERS"
    kind, what, do = why(url, protocol, headers={"authorization": "Bearer old"})
    assert kind == "key"
    assert what.startswith("it refuses the key, which is wrong or has expired")
    assert "old" not in what + do


def test_http_at_the_port_of_grpc(receiver):
    for protocol in (HTTP, JSON):
        assert why(receiver.listen_grpc(), protocol) == (
            "protocol", f"it speaks gRPC, not {protocol}",
            "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or name the port for HTTP (usually 4318)",
        )  # fmt: skip


def test_grpc_at_the_port_of_http(receiver):
    assert why(receiver.url, GRPC) == (
        "protocol", "it speaks HTTP, not gRPC",
        "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or name the port for gRPC (usually 4317)",
    )  # fmt: skip


def test_a_server_that_takes_no_protobuf():
    with closing(Collector()) as collector:
        collector.always = 415
        kind, _what, do = why(collector.endpoint)
        assert (kind, do) == ("protocol", "set OTEL_EXPORTER_OTLP_PROTOCOL=http/json")


@pytest.mark.parametrize("status", ["500", "503"])
def test_another_answer_is_given_as_it_is(receiver, status):
    receiver.behaviour = status
    assert why(receiver.url)[:2] == ("other", f"it answers status {status}")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tls_where_there_is_none(receiver, protocol):
    url = receiver.listen_grpc() if protocol == GRPC else receiver.url
    kind, what, do = why(url.replace("http:", "https:"), protocol)
    assert (kind, what) == ("tls", "it speaks no TLS")
    assert do.startswith("write http:// in OTEL_EXPORTER_OTLP_ENDPOINT")


@needs_openssl
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_text_where_there_is_tls(secure, protocol):
    urls, _pem = secure
    assert why(urls[protocol].replace("https:", "http:"), protocol) == (
        "tls", "it speaks TLS", "write https:// in OTEL_EXPORTER_OTLP_ENDPOINT",
    )  # fmt: skip


@needs_openssl
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_that_nobody_vouches_for(secure, protocol):
    urls, _pem = secure
    kind, what, do = why(urls[protocol], protocol)
    assert (kind, what) == ("tls", "its certificate is not accepted: self-signed certificate")
    assert do.startswith("set OTEL_EXPORTER_OTLP_CERTIFICATE")


@needs_openssl
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_of_another_host(secure, protocol):
    urls, pem = secure
    url = urls[protocol].replace("localhost", "127.0.0.1")
    if protocol == GRPC:
        url = urls[HTTP].replace("localhost", "127.0.0.1")  # the gRPC server listens as localhost, perhaps on ::1 alone
    kind, what, do = why(url, protocol, certificate=pem)
    assert kind == "tls"
    assert "mismatch" in what
    assert do == "name the host in OTEL_EXPORTER_OTLP_ENDPOINT as its certificate does"


@needs_openssl
def test_a_server_that_asks_for_a_certificate(pair):
    key, pem = pair
    with over_tls(key, pem, ask_for=pem) as url:
        kind, _what, do = why(url, certificate=str(pem))
    assert kind == "tls"
    assert "CLIENT_CERTIFICATE" in do


def test_a_file_of_certificates_that_is_not_there(receiver):
    url = receiver.url.replace("http:", "https:")
    kind, what, do = why(url, certificate="/no/such/file")
    assert (kind, what) == ("tls", "certificates cannot be read (No such file or directory)")
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in do
