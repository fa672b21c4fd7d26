from __future__ import annotations

import pytest

from nexus_otel import config
from nexus_otel.config import SettingError
from nexus_otel.export.destinations import Destination, destination, destinations
from nexus_otel.export.segment import Target


@pytest.fixture
def environment(monkeypatch):
    """Set OTEL_EXPORTER_OTLP_... variables by the rest of their names; no other is set."""
    for name in [name for name in config.variables() if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)

    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)

    return put


def test_no_endpoint_is_no_destination(environment):
    environment(HEADERS="a=b")
    assert destination("traces") is None
    assert destinations() == []


def test_the_default_is_this_machine_where_it_is_wanted(environment):
    assert destination("LOGS", default=True) == Destination("logs", "http://localhost:4318/v1/logs")


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"ENDPOINT": "https://c/base/"}, "https://c/base/v1/traces"),
        ({"ENDPOINT": "https://c/base?team=a"}, "https://c/base/v1/traces?team=a"),
        ({"TRACES_ENDPOINT": "https://c/any/where"}, "https://c/any/where"),
        ({"TRACES_ENDPOINT": "https://c"}, "https://c/"),
        ({"TRACES_ENDPOINT": "https://own", "ENDPOINT": "https://general"}, "https://own/"),
        ({"ENDPOINT": "http://[::1]:4318"}, "http://[::1]:4318/v1/traces"),
    ],
)
def test_the_address(environment, variables, url):
    environment(**variables)
    assert destination("traces").url == url


def test_every_signal_has_its_own(environment):
    environment(ENDPOINT="http://c:4318", METRICS_ENDPOINT="http://m/x")
    assert [one.url for one in destinations()] == ["http://c:4318/v1/traces", "http://c:4318/v1/logs", "http://m/x"]


def test_all_variables_are_read(environment, tmp_path):
    pem = tmp_path / "a.pem"
    pem.write_text("pem")
    environment(
        ENDPOINT="https://c", HEADERS="x-api-key=a%20b%2C, Other = c=d ,", TIMEOUT="2.5", COMPRESSION="GZIP",
        CERTIFICATE=str(pem), CLIENT_KEY=str(pem), CLIENT_CERTIFICATE=str(pem), PROTOCOL="http/protobuf",
    )  # fmt: skip
    assert destination("traces") == Destination(
        "traces",
        "https://c/v1/traces",
        {"x-api-key": "a b,", "other": "c=d"},
        2.5,
        "gzip",
        str(pem),
        str(pem),
        str(pem),
    )


def test_the_signals_own_variable_wins(environment):
    environment(ENDPOINT="https://c", TIMEOUT="5", TRACES_TIMEOUT="3", HEADERS="a=1", TRACES_HEADERS="b=2")
    found = destination("traces")
    assert (found.timeout_s, found.headers) == (3.0, {"b": "2"})


def test_user_and_password_become_a_header(environment):
    environment(ENDPOINT="https://me:p%40ss@c/base?key=hidden")
    found = destination("traces")
    assert found.url == "https://c/base/v1/traces?key=hidden"
    assert found.headers == {"authorization": "Basic bWU6cEBzcw=="}
    assert found.endpoint == "https://c/base/v1/traces"
    assert "bWU6" not in repr(found)


def test_a_target_knows_the_names_of_headers_only():
    one = Destination("traces", "https://c/v1/traces?x=1", {"A": "1", "b": "2"}).target
    assert one == Destination("traces", "https://c/v1/traces", {"B": "3", "a": "4"}, timeout_s=1).target
    assert one != Destination("traces", "https://c/v1/traces", {"a": "1"}).target
    assert one != Destination("logs", "https://c/v1/traces", {"a": "1", "b": "2"}).target
    assert isinstance(one, Target)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ENDPOINT", "c:4318", "http://localhost:4318"),
        ("ENDPOINT", "http://", "http://localhost:4318"),
        ("ENDPOINT", "http://c:99999", "http://localhost:4318"),
        ("TRACES_ENDPOINT", "unix:/run/x", "http://localhost:4318"),
        ("TIMEOUT", "soon", "seconds"),
        ("TIMEOUT", "0", "seconds"),
        ("TRACES_TIMEOUT", "-1", "seconds"),
        ("TIMEOUT", "nan", "seconds"),
        ("COMPRESSION", "zstd", "none, gzip, deflate"),
        ("PROTOCOL", "carrier-pigeon", "http/protobuf, http/json, grpc"),
        ("TRACES_PROTOCOL", "otlp", "http/protobuf, http/json, grpc"),
        ("CERTIFICATE", "/not/there.pem", "PEM"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(environment, name, value, expected):
    environment(**{"ENDPOINT": "http://c:4318", name: value})
    with pytest.raises(SettingError) as caught:
        destination("traces")
    text = str(caught.value)
    assert text.startswith(f"OTEL_EXPORTER_OTLP_{name}={value!r}")
    assert expected in text
    assert "\n" not in text


@pytest.mark.parametrize("value", ["secret", "=secret", "a b=secret", "a=secret%0Ax"])
def test_a_wrong_header_is_named_without_its_value(environment, value):
    environment(ENDPOINT="http://c:4318", HEADERS=value)
    with pytest.raises(SettingError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught:
        destination("traces")
    assert "secret" not in str(caught.value)


def test_a_password_in_a_wrong_endpoint_is_not_shown(environment):
    environment(ENDPOINT="ftp://me:secret@c/x?key=hidden")
    with pytest.raises(SettingError) as caught:
        destination("traces")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"ENDPOINT": "http://c:4317"}, "http://c:4317"),
        ({"ENDPOINT": "http://c"}, "http://c:4317"),
        ({"ENDPOINT": "https://c"}, "https://c:443"),
        ({"ENDPOINT": "https://c:1/any/where?x=1"}, "https://c:1"),
        ({"ENDPOINT": "https://c:1", "INSECURE": "true"}, "https://c:1"),
        ({"ENDPOINT": "c:4317"}, "https://c:4317"),
        ({"ENDPOINT": "c:4317", "INSECURE": "True"}, "http://c:4317"),
        ({"ENDPOINT": "c:4317", "INSECURE": "true", "TRACES_INSECURE": "false"}, "https://c:4317"),
        ({"TRACES_ENDPOINT": "[::1]:4317", "INSECURE": "true"}, "http://[::1]:4317"),
    ],
)
def test_the_address_over_grpc(environment, caplog, variables, url):
    environment(PROTOCOL="grpc", **variables)
    found = destination("traces")
    assert (found.url, found.protocol) == (url, "grpc")
    assert found.target.endpoint == url
    assert caplog.records == []


def test_the_default_over_grpc_is_this_machine_where_it_is_wanted(environment):
    environment(PROTOCOL="grpc")
    assert destination("traces") is None
    assert destination("traces", default=True) == Destination("traces", "http://localhost:4317", protocol="grpc")


def test_every_signal_has_its_own_protocol(environment):
    environment(ENDPOINT="http://c:4317", PROTOCOL="GRPC", LOGS_PROTOCOL="http/json", METRICS_PROTOCOL="http/protobuf")
    assert [(one.url, one.protocol) for one in destinations()] == [
        ("http://c:4317", "grpc"),
        ("http://c:4317/v1/logs", "http/json"),
        ("http://c:4317/v1/metrics", "http/protobuf"),
    ]


def test_the_protocol_is_no_part_of_a_target():
    assert len({Destination("traces", "http://c/", protocol=one).target for one in ("http/protobuf", "http/json")}) == 1


def test_user_and_password_become_a_header_over_grpc(environment):
    environment(ENDPOINT="me:p%40ss@c:4317", PROTOCOL="grpc")
    found = destination("traces")
    assert (found.url, found.headers) == ("https://c:4317", {"authorization": "Basic bWU6cEBzcw=="})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINT", "unix:/run/x"),
        ("ENDPOINT", "c:4317/path"),
        ("ENDPOINT", "c:99999"),
        ("INSECURE", "maybe"),
        ("HEADERS", "a=caf%C3%A9"),
        ("HEADERS", "a!=b"),
    ],
)
def test_a_wrong_value_over_grpc_is_named(environment, name, value):
    environment(**{"ENDPOINT": "c:4317", "PROTOCOL": "grpc", name: value})
    with pytest.raises(SettingError, match=f"^OTEL_EXPORTER_OTLP_{name}"):
        destination("traces")
