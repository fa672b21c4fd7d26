from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from email.utils import formatdate

import orjson
import pytest
from opentelemetry.context import get_current
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from nexus_otel import _guard, config
from nexus_otel.config import Settings
from nexus_otel.export import sender as sender_module
from nexus_otel.export import transport as transport_module
from nexus_otel.export import writer
from nexus_otel.export.advice import advice
from nexus_otel.export.answer import rejected
from nexus_otel.export.destinations import Destination, destination
from nexus_otel.export.over_http import wait_of
from nexus_otel.export.read import read_store
from nexus_otel.export.retention import acknowledge
from nexus_otel.export.segment import is_locked, segments
from nexus_otel.export.sender import FlushReport, Sender, flush_store
from nexus_otel.export.spool import Spool
from tests.export.collector import Collector
from tests.export.kit import PRELUDE, flush_in_vain, provider_of, run, spans


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def pipeline(home, collector):
    """Build (sender, tracer) on a home; everything is stopped afterwards."""
    senders = []

    def build(*destinations, spool=None, **settings):
        chosen = Settings(**settings)
        destinations = destinations or (Destination("traces", collector.url),)
        spool = spool or Spool.open(home, destinations, settings=chosen)
        sender = Sender(spool, destinations, chosen)
        senders.append(sender)
        return sender, provider_of(spool).get_tracer("x")

    yield build
    for sender in senders:
        sender.stop(2)


def left(home):
    return sorted(path.name for path in (home / "spool").iterdir())


# -- delivery --------------------------------------------------------------------------------------------


def test_spans_arrive_and_leave_the_disk(home, collector, pipeline):
    sender, tracer = pipeline()
    spans(tracer, "a", "b")
    assert sender.flush(5)
    assert collector.names == ["a", "b"]
    sender.stop(1)
    assert left(home) == []


def test_spans_arrive_without_a_flush_within_a_moment(collector, pipeline, monkeypatch):
    monkeypatch.setattr(sender_module, "LINGER_S", 0.05)
    _sender, tracer = pipeline()
    spans(tracer, "a")
    collector.wait_for(1)


def test_a_full_batch_does_not_wait(collector, pipeline, monkeypatch):
    monkeypatch.setattr(sender_module, "LINGER_S", 60)
    monkeypatch.setattr(sender_module, "FULL_RECORDS", 20)
    _sender, tracer = pipeline()
    spans(tracer, *map(str, range(20)))
    collector.wait_for(20)
    assert len(collector.requests) <= 2


def test_a_request_is_as_configured(collector, pipeline):
    destination = Destination("traces", collector.url, {"x-key": "secret"}, compression="gzip")
    sender, tracer = pipeline(destination)
    spans(tracer, "a")
    assert sender.flush(5)
    ((path, headers, body),) = collector.requests
    assert (path, headers["content-type"], headers["content-encoding"]) == (
        "/v1/traces", "application/x-protobuf", "gzip",
    )  # fmt: skip
    assert (headers["x-key"], body[:2]) == ("secret", b"\x1f\x8b")
    assert "secret" not in repr(destination)


def test_deflate_is_understood(collector, pipeline):
    sender, tracer = pipeline(Destination("traces", collector.url, compression="deflate"))
    spans(tracer, "a")
    assert sender.flush(5)
    assert collector.names == ["a"]


def test_nothing_of_a_destination_but_its_shown_address_is_stored(home, collector, pipeline):
    url = collector.url + "?token=hidden"
    sender, tracer = pipeline(Destination("traces", url, {"x-key": "secret"}), export=("local", "otlp"))
    spans(tracer, "a")
    assert sender.flush(5)
    sender.stop(1)
    stored = b"".join(path.read_bytes() + os.fsencode(path.name) for path in (home / "spool").iterdir())
    assert b"secret" not in stored
    assert b"hidden" not in stored
    assert b"/v1/traces" in stored


def test_a_local_copy_stays_when_asked_for(home, collector, pipeline):
    sender, tracer = pipeline(export=("local", "otlp"))
    spans(tracer, "a")
    assert sender.flush(5)
    sender.stop(1)
    assert [span.name for span in read_store(home).spans] == ["a"]
    again, _tracer = pipeline(export=("local", "otlp"))
    assert again.flush(5)
    assert collector.names == ["a"]


def test_rotated_segments_are_deleted_once_delivered(home, collector, pipeline, monkeypatch):
    monkeypatch.setattr(writer, "ROTATE_BYTES", 2_000)
    sender, tracer = pipeline()
    names = [f"{number:03}" for number in range(100)]
    spans(tracer, *names)
    assert len(segments(home / "spool")) > 3
    assert sender.flush(5)
    assert len(segments(home / "spool")) == 1
    assert collector.names == names


def test_batches_are_about_two_mebibytes(collector, pipeline):
    sender, tracer = pipeline()
    spans(tracer, *map(str, range(12)), text="x" * 500_000)
    assert sender.flush(10)
    assert len(collector.spans) == 12
    assert max(len(body) for _path, _headers, body in collector.requests) < 2.2 * 1024 * 1024


def test_records_in_memory_are_sent(home, collector, pipeline):
    sender, tracer = pipeline(durability="memory")
    spans(tracer, "a", "b")
    assert sender.flush(5)
    assert collector.names == ["a", "b"]
    assert sender._spool.in_memory()[1] == []
    assert not home.exists()


def test_the_collector_sees_no_instrumented_client(collector, pipeline, monkeypatch):
    from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled

    seen = []
    real = transport_module.Transport._posted

    def posted(self, body, timeout_s):
        seen.append((is_instrumentation_enabled(), is_http_instrumentation_enabled()))
        return real(self, body, timeout_s)

    monkeypatch.setattr(transport_module.Transport, "_posted", posted)
    sender, tracer = pipeline()
    spans(tracer, "a")
    before = get_current()
    assert sender.flush(5)
    assert set(seen) == {(False, False)}
    assert get_current() == before


def test_a_forked_child_sends_its_own(home, collector):
    done = run(
        home,
        f"""
from nexus_otel.export.destinations import Destination, destination
from nexus_otel.export.sender import Sender
to = Destination("traces", {collector.url!r})
spool, provider = opened(home, to)
sender = Sender(spool, [to])
tracer = provider.get_tracer("x")
with tracer.start_as_current_span("parent"):
    sender.flush(5)
    child = os.fork()
    if child == 0:
        tracer.start_span("child").end()
        os._exit(0 if sender.flush(5) else 1)
    code = os.waitpid(child, 0)[1]
print(code, sender.flush(5))
""",
    )
    assert done.stdout == "0 True\n", done.stderr
    assert collector.names == ["child", "parent"]


# -- outages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_collector_is_tried_again(collector, pipeline, fast, status):
    collector.script.extend([status] * 3)
    sender, tracer = pipeline()
    spans(tracer, "a")
    assert sender.flush(5)
    assert collector.names == ["a"]
    assert len(collector.requests) == 4


def test_retry_after_is_honoured_even_by_a_flush(collector, pipeline, fast):
    collector.script.append((503, {"retry-after": "1"}, b""))
    sender, tracer = pipeline()
    spans(tracer, "a")
    assert not sender.flush(0.5)
    assert not sender.flush(0.1)
    assert len(collector.requests) == 1
    assert sender.flush(5)
    assert collector.times[1] - collector.times[0] >= 1


def test_an_outage_is_said_once_and_so_is_its_end(collector, pipeline, fast, caplog):
    caplog.set_level(logging.INFO, "nexus_otel")
    collector.script.extend([503] * 3)
    sender, tracer = pipeline()
    spans(tracer, "a")
    assert sender.flush(5)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _line in lines] == ["WARNING", "INFO"]
    assert all(collector.url in line for _level, line in lines)


def test_a_refused_connection_is_tried_until_somebody_listens(home, pipeline, fast):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    sender, tracer = pipeline(Destination("traces", f"http://127.0.0.1:{port}/v1/traces"))
    spans(tracer, "a")
    assert not sender.flush(0.3)
    assert [span.name for span in read_store(home).spans] == ["a"]


def test_a_flush_ends_at_once_where_the_next_try_is_too_late(pipeline):
    sender, tracer = pipeline(Destination("traces", "http://127.0.0.1:9/v1/traces"))
    spans(tracer, "a")
    began = time.monotonic()
    assert not sender.flush(0.6)
    assert time.monotonic() - began < 0.5


def test_a_hanging_collector_costs_its_timeout_and_no_data(collector, pipeline, fast):
    collector.script.append(0)
    sender, tracer = pipeline(Destination("traces", collector.url, timeout_s=0.2))
    spans(tracer, "a")
    assert sender.flush(5)
    assert collector.names == ["a"]


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 415])
def test_a_refusal_keeps_the_data_and_names_the_endpoint(collector, pipeline, status, fast, caplog):
    collector.script.append((status, {"location": collector.endpoint + "/elsewhere"}, b"why"))
    sender, tracer = pipeline(Destination("traces", collector.url, {"x-key": "secret"}))
    spans(tracer, "a")
    flush_in_vain(sender, caplog.records)
    assert {path for path, _headers, _body in collector.requests} == {"/v1/traces"}
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"status {status}" in line
    assert collector.url in line
    assert "secret" not in line
    assert sender.flush(5)
    assert collector.names == ["a"]


def test_a_refusal_of_json_says_what_to_set(environment):
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    remedy = ": it takes no http/json, set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    assert advice("traces", "status 415") == remedy
    assert advice("traces", "status 400") == ": check OTEL_EXPORTER_OTLP_PROTOCOL, which is http/json"
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    assert advice("traces", "status 415") == ": check OTEL_EXPORTER_OTLP_PROTOCOL, which is http/protobuf"


ADVICE = {
    301: "it has moved, set OTEL_EXPORTER_OTLP_ENDPOINT to where it is now",
    400: "check OTEL_EXPORTER_OTLP_PROTOCOL, which is http/protobuf",
    401: "check the key in OTEL_EXPORTER_OTLP_TRACES_HEADERS, which is set",
    403: "check the key in OTEL_EXPORTER_OTLP_TRACES_HEADERS, which is set",
    404: "check OTEL_EXPORTER_OTLP_ENDPOINT",
}


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("status", ADVICE)
def test_a_refusal_says_once_what_to_do_and_nothing_of_the_key(collector, home, environment, caplog, status):
    address = collector.endpoint.replace("http://", "http://me:secret@")
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{address}?token=secret")
    environment.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=secret")
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    to = destination("traces")
    collector.always = (status, {}, b"your key secret is wrong")
    spool = Spool.open(home, [to], settings=Settings())
    sender = Sender(spool, [to], Settings())
    spans(provider_of(spool).get_tracer("x"), "a")
    assert not sender.flush(0.5)
    sender.stop(1)
    assert len(collector.requests) > 1
    (line,) = caplog.messages
    assert line.startswith(f"nexus-otel: {collector.url} refuses data (status {status}: {ADVICE[status]}")
    assert "kept" in line
    assert "secret" not in line


def test_a_body_that_is_too_large_is_split(collector, pipeline):
    collector.always = lambda body: 413 if len(body) > 25_000 else 200
    sender, tracer = pipeline()
    spans(tracer, *map(str, range(20)), text="x" * 5_000)
    assert sender.flush(10)
    assert collector.names == sorted(map(str, range(20)))


def test_a_single_record_that_is_too_large_is_cut_and_stays_here_whole(home, collector, pipeline, caplog):
    collector.always = lambda body: 413 if len(body) > 25_000 else 200
    sender, tracer = pipeline()
    spans(tracer, "small")
    messages = orjson.dumps([{"role": "user", "parts": [{"type": "text", "content": "y" * 40_000}]}]).decode()
    spans(tracer, "large", text="x" * 50_000, messages=messages, many=["z" * 1_000] * 40, short="s")
    spans(tracer, "small too")
    assert sender.flush(10)
    sender.stop(1)
    assert collector.names == ["large", "small", "small too"]
    (large,) = (span for span in collector.spans if span.name == "large")
    values = {pair.key: pair.value for pair in large.attributes}
    assert values["short"].string_value == "s"
    assert values["text"].string_value.endswith("[cut, 50000 characters]")
    assert orjson.loads(values["messages"].string_value)[0]["role"] == "user"
    assert {one.string_value for one in values["nexus.truncated"].array_value.values} == {"text", "messages", "many"}
    (kept,) = read_store(home).spans
    assert (kept.name, len(kept.attributes["text"])) == ("large", 50_000)
    assert _guard.failures["sending a record that is too large, cut"] == 1
    assert any(collector.url in line and "kept whole" in line for line in caplog.messages)


def test_a_single_record_that_no_cut_makes_small_enough_stays_here(home, collector, pipeline):
    collector.always = lambda body: 413 if len(body) > 25_000 else 200
    sender, tracer = pipeline()
    spans(tracer, "x" * 50_000)
    spans(tracer, "small")
    assert sender.flush(10)
    sender.stop(1)
    assert collector.names == ["small"]
    assert [span.name for span in read_store(home).spans] == ["x" * 50_000]
    assert _guard.failures["sending a record that is too large"] == 1


def test_partial_success_is_counted_and_said_once(collector, pipeline, caplog):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    answer.partial_success.error_message = "too old " + "x" * 1_000
    collector.always = (200, {}, answer.SerializeToString())
    sender, tracer = pipeline()
    for name in ("a", "b"):
        spans(tracer, name)
        assert sender.flush(5)
    assert sender.rejected == 6
    (line,) = [record.getMessage() for record in caplog.records]
    assert "rejected 3" in line
    assert "too old" in line
    assert len(line) < 400


def test_one_connection_serves_many_requests(collector, pipeline):
    sender, tracer = pipeline()
    for name in ("a", "b", "c"):
        spans(tracer, name)
        assert sender.flush(5)
    assert len(collector.clients) == 1


def test_a_flush_after_the_stop_still_sends(collector, pipeline):
    sender, tracer = pipeline()
    sender.stop(1)
    spans(tracer, "late")
    assert sender.flush(5)
    assert collector.names == ["late"]


@pytest.mark.parametrize("answer", [b"", b"\xff", b"\x0a\x05\x08", b"not protobuf", b"{}"])
def test_an_answer_that_is_no_answer_rejects_nothing(answer):
    assert rejected(answer) == 0


def test_retry_after_gives_seconds_or_a_date():
    assert wait_of("7") == 7
    assert 50 < wait_of(formatdate(time.time() + 60, usegmt=True)) < 61
    assert wait_of(formatdate(0, usegmt=True)) == 0
    assert wait_of("soon") is None
    assert wait_of(None) is None


@pytest.mark.parametrize("behaviour", ["hang", "refuse"])
def test_a_process_leaves_in_time(home, collector, behaviour):
    url = "http://127.0.0.1:9/v1/traces"
    if behaviour == "hang":
        url, collector.always = collector.url, 0
    began = time.monotonic()
    done = run(
        home,
        f"""
import atexit
from nexus_otel.export.destinations import Destination, destination
from nexus_otel.export.sender import Sender
to = Destination("traces", {url!r})
spool, provider = opened(home, to)
sender = Sender(spool, [to])
provider.get_tracer("x").start_span("a").end()
began = time.monotonic()
atexit.register(lambda: (sender.flush(0.5), sender.stop(0), print(time.monotonic() - began)))
""",
    )
    assert done.returncode == 0
    assert float(done.stdout) < 1
    assert time.monotonic() - began < 5
    assert [span.name for span in read_store(home).spans] == ["a"]


# -- what others left ------------------------------------------------------------------------------------


def leave(home, url, program="tracer.start_span('left').end()\nos._exit(1)"):
    """Run a process that writes for a destination and ends without sending."""
    done = run(
        home,
        f"""
from nexus_otel.export.destinations import Destination, destination
spool, provider = opened(home, Destination("traces", {url!r}))
tracer = provider.get_tracer("x")
{program}
""",
    )
    assert done.returncode in {1, -9}, done.stderr


def test_the_next_process_sends_what_a_killed_one_left(home, collector, pipeline):
    leave(
        home,
        collector.url,
        """
with tracer.start_as_current_span("root"):
    tracer.start_span("done").end()
    os.kill(os.getpid(), 9)
""",
    )
    sender, tracer = pipeline()
    spans(tracer, "mine")
    assert sender.flush(5)
    found = {span.name: span for span in collector.spans}
    assert sorted(found) == ["done", "mine", "root"]
    root = found["root"]
    assert (root.status.code, root.status.message) == (2, "process ended before this span did")
    assert {pair.key for pair in root.attributes} == {"nexus.replayed", "error.type"}
    assert root.end_time_unix_nano == found["done"].end_time_unix_nano
    sender.stop(1)
    assert left(home) == []


def test_a_delivered_segment_that_was_not_deleted_is_deleted_by_the_next(home, collector, pipeline):
    leave(home, collector.url)
    (segment,) = segments(home / "spool")
    acknowledge(segment, Destination("traces", collector.url).target, segment.stat().st_size, final=True)
    sender, _tracer = pipeline()
    assert sender.flush(5)
    assert (left(home), collector.names) == ([], [])


def test_what_a_living_process_had_sent_is_not_sent_again_when_it_dies(home, collector, pipeline):
    leave(
        home,
        collector.url,
        f"""
from nexus_otel.export.sender import Sender
sender = Sender(spool, [Destination("traces", {collector.url!r})])
root = tracer.start_span("root")
tracer.start_span("sent").end()
assert sender.flush(5)
os._exit(1)
""",
    )
    assert collector.names == ["sent"]
    sender, tracer = pipeline()
    spans(tracer, "mine")
    assert sender.flush(5)
    assert collector.names == ["mine", "root", "sent"]


def test_nothing_goes_to_another_destination(home, collector, pipeline):
    leave(home, "http://127.0.0.1:9/v1/traces")
    leave(home, collector.url + "/other")
    run(home, "opened(home)[1].get_tracer('x').start_span('local').end()")
    sender, tracer = pipeline()
    spans(tracer, "mine")
    assert sender.flush(5)
    assert collector.names == ["mine"]
    headers = Destination("traces", collector.url, {"x-key": "secret"})
    other, tracer = pipeline(headers)
    spans(tracer, "mine too")
    assert other.flush(5)
    assert collector.names == ["mine", "mine too"]
    assert len(segments(home / "spool")) >= 3


def test_a_living_process_keeps_its_segment(home, collector, pipeline):
    program = PRELUDE + (
        f"from nexus_otel.export.destinations import Destination\n"
        f"opened(home, Destination('traces', {collector.url!r}))[1].get_tracer('x').start_span('theirs').end()\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        sender, tracer = pipeline()
        spans(tracer, "mine")
        assert sender.flush(5)
        assert collector.names == ["mine"]
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
        process.wait()
        sender._shipper.look_at = 0
        assert sender.flush(5)
    assert collector.names == ["mine", "theirs"]


def test_a_lock_that_a_forked_child_keeps_is_no_hindrance(home, collector, pipeline):
    program = f"""
from nexus_otel.export.destinations import Destination, destination
spool, provider = opened(home, Destination("traces", {collector.url!r}))
provider.get_tracer("x").start_span("left").end()
os.dup(spool._writer.segment._descriptor)
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
else:
    time.sleep(0.2)
    os.kill(os.getpid(), 9)
"""
    with subprocess.Popen([sys.executable, "-c", PRELUDE + program, str(home)], stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        try:
            process.wait(10)
            assert is_locked(segments(home / "spool")[0])
            sender, tracer = pipeline()
            spans(tracer, "mine")
            assert sender.flush(5)
        finally:
            os.kill(child, signal.SIGKILL)
    assert collector.names == ["left", "mine"]


def test_two_adopters_send_once(home, collector):
    for number in range(4):
        leave(home, collector.url, f"tracer.start_span('left {number}').end()\nos._exit(1)")
    program = PRELUDE + (
        "from nexus_otel.export.destinations import Destination\n"
        "from nexus_otel.export.shipper import Shipper\n"
        f"Shipper(home, [Destination('traces', {collector.url!r})]).round()\n"
    )
    several = [subprocess.Popen([sys.executable, "-c", program, str(home)]) for _ in range(3)]
    assert [process.wait(20) for process in several] == [0, 0, 0]
    assert collector.names == [f"left {number}" for number in range(4)]


# -- the whole store -------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch, collector):
    for name in [name for name in config.variables() if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    return monkeypatch


def test_flush_sends_what_belongs_to_the_environment(home, collector, environment):
    leave(home, collector.url)
    leave(home, "http://127.0.0.1:9/v1/traces")
    run(home, "opened(home)[1].get_tracer('x').start_span('local').end()")
    assert flush_store(home, 5) == FlushReport(sent=1, left=0, foreign=1)
    assert collector.names == ["left"]
    assert flush_store(home, 5) == FlushReport(sent=0, left=0, foreign=1)


def test_flush_says_what_it_could_not_send(home, collector, environment):
    leave(home, collector.url, "tracer.start_span('left').end()\ntracer.start_span('open')\nos._exit(1)")
    collector.always = 401
    began = time.monotonic()
    refusal = (
        f"{collector.url} refuses data (status 401: check the key in OTEL_EXPORTER_OTLP_HEADERS, which is not set)"
    )
    assert flush_store(home, 1) == FlushReport(sent=0, left=2, foreign=0, refusals=(refusal,))
    assert time.monotonic() - began < 1
    collector.always = 200
    assert flush_store(home, 5).left == 0


def test_flush_tries_again_within_its_time(home, collector, environment, fast):
    leave(home, collector.url)
    collector.script.extend([503, 503])
    assert flush_store(home, 5) == FlushReport(sent=1, left=0, foreign=0)


def test_flush_of_no_store_finds_nothing(home, environment):
    assert flush_store(home, 1) == FlushReport(0, 0, 0)


# -- the way there ---------------------------------------------------------------------------------------


def test_the_proxy_of_the_environment_is_used(collector, pipeline, monkeypatch):
    monkeypatch.setenv("http_proxy", collector.endpoint)
    sender, tracer = pipeline(Destination("traces", "http://far.invalid/v1/traces"))
    spans(tracer, "a")
    assert sender.flush(5)
    assert collector.names == ["a"]
    assert collector.requests[0][0] == "http://far.invalid/v1/traces"


def test_a_host_without_proxy_is_met_directly(collector, pipeline, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    sender, tracer = pipeline()
    spans(tracer, "a")
    assert sender.flush(5)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")
def test_tls_with_certificates_on_both_sides(collector, pipeline, tmp_path):
    key, pem = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    context.load_verify_locations(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    collector.server.socket = context.wrap_socket(collector.server.socket, server_side=True)
    url = collector.url.replace("http://127.0.0.1", "https://localhost")
    stranger, tracer = pipeline(Destination("traces", url, certificate=pem))
    spans(tracer, "a")
    assert not stranger.flush(0.5)
    known, tracer = pipeline(
        Destination("traces", url, {"a": "b"}, certificate=pem, client_key=key, client_certificate=pem)
    )
    spans(tracer, "b")
    assert known.flush(5)
    assert collector.names == ["b"]
