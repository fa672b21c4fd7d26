"""What `doctor` says of a real collector that is asked in a wrong way."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.collector.kit import QUICK, Collector, built, free_port


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with Collector(built(), tmp_path_factory.mktemp("reach"), dict(QUICK)) as running:
        yield running


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A collector that wants TLS with a certificate of the client's; and the file of its own."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl")
    folder = tmp_path_factory.mktemp("secure")
    key, pem = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = f"{{cert_file: {pem}, key_file: {key}, client_ca_file: {pem}}}"
    more = f"receivers: {{otlp: {{protocols: {{http: {{tls: {tls}}}, grpc: {{tls: {tls}}}}}}}}}\n"
    with Collector(built(), folder / "c", dict(QUICK), more=more) as running:
        yield running, str(pem)


def told(world, **env):
    """What `doctor` says of the destination of spans: the cause, in words, and what to do."""
    done = world.nexus(
        "doctor", "--json", OTEL_METRICS_EXPORTER="none", NEXUS_DISABLED="anthropic,openai", **env
    )  # fmt: skip
    (one,) = [one for one in json.loads(done.out)["destinations"] if one["signal"] == "traces"]
    return one.get("cause"), one.get("why"), one.get("do")


def test_asked_rightly_it_answers(world, collector):
    assert told(world, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) == (None, None, None)
    grpc = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert told(world, **grpc) == (None, None, None)


def test_asked_wrongly_doctor_says_how(world, collector):
    port = free_port()
    wrong = {
        "unreachable": (f"http://127.0.0.1:{port}", "http/protobuf", f"nothing listens on 127.0.0.1:{port}"),
        "path": (f"{collector.url}/otel", "http/protobuf", "there is nothing at /otel/v1/traces (status 404)"),
        "protocol": (collector.grpc_url, "http/protobuf", "it speaks gRPC, not http/protobuf"),
        "protocol of gRPC": (collector.url, "grpc", "it speaks HTTP, not gRPC"),
        "tls": (collector.url.replace("http", "https"), "http/protobuf", "it speaks no TLS"),
        "tls of gRPC": (collector.grpc_url.replace("http", "https"), "grpc", "it speaks no TLS"),
    }
    for kind, (endpoint, protocol, what) in wrong.items():
        found = told(world, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
        assert found[0] == kind.split()[0], (kind, found)
        assert found[1].startswith(what), (kind, found)


def test_tls_that_fails_is_told(world, secure):
    running, pem = secure
    url, grpc = (f"https://localhost:{port}" for port in (running.http_port, running.grpc_port))
    trusted = {"OTEL_EXPORTER_OTLP_CERTIFICATE": pem}
    for endpoint, protocol in ((url, "http/protobuf"), (grpc, "grpc")):
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        kind, what, _do = told(world, **given)
        assert (kind, what) == ("tls", "its certificate is not accepted: self-signed certificate")
        kind, what, _do = told(world, **given, **trusted)
        assert kind == "tls"
        assert what.startswith("it asks for a certificate of ours")
        plain = {**given, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.replace("https", "http")}
        assert told(world, **plain)[:2] == ("tls", "it speaks TLS")
