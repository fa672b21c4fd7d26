import json
from contextlib import closing

import pytest

from nexus_otel import config
from nexus_otel.bootstrap.probe import probe
from nexus_otel.cli import checks
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.cli.test_commands import home, nexus  # noqa: F401 - fixtures
from tests.export.collector import Collector
from tests.export.kit import run


@pytest.fixture
def set_to(home, monkeypatch):  # noqa: F811
    """Set variables; nothing else of the person's own counts."""
    monkeypatch.setattr("tempfile.tempdir", str(home.parent))
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)

    def set_to(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        config.use(None)

    return set_to


def problems(nexus):  # noqa: F811
    code, out, _err = nexus("doctor", "--json")
    found = json.loads(out)
    assert code == (1 if found["problems"] else 0)
    return {one["problem"]: one["do"] for one in found["problems"]}, found


def test_nothing_is_wrong(set_to, nexus):  # noqa: F811
    wrong, found = problems(nexus)
    assert wrong == {}
    there = [library for library in found["instrumentors"] if library["version"] is not None]
    assert {library["name"] for library in there} >= {"anthropic", "openai"}
    for library in there:
        assert (library["in_range"], library["missing"], library["others"]) == (True, [], [])
        assert len(library["bound"]) > 5
    assert found["launcher"]["reached"]
    assert found["store"]["segments"] == 0
    _code, out, _err = nexus("doctor")
    assert out.startswith("no problems found\n")


def test_secrets_are_not_shown(set_to, nexus):  # noqa: F811
    set_to(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://user:pa55@localhost:9/?token=pa55",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=pa55",
        NEXUS_HASH_KEY="pa55",
        NEXUS_API_KEY="pa55",
    )
    for arguments in ([], ["--json"]):
        code, out, err = nexus("doctor", *arguments)
        assert code == 1
        assert "pa55" not in out + err
        assert "OTEL_EXPORTER_OTLP_HEADERS" in out


def test_a_collector_that_is_there_and_one_that_is_not(set_to, nexus):  # noqa: F811
    collector = Collector()
    with closing(collector):
        set_to(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_METRICS_EXPORTER="none")
        wrong, found = problems(nexus)
        assert wrong == {}
        assert [one["answers"] for one in found["destinations"]] == [True]
    wrong, _found = problems(nexus)
    (line,) = wrong
    assert line.startswith(f"{collector.url} does not take traces: nothing listens on 127.0.0.1:")


def test_a_setting_with_a_slip_in_it(set_to, nexus):  # noqa: F811
    set_to(NEXUS_EXPROT="local", NEXUS_SUMMARY="perhaps", NEXUS_REPOSITORY_OF_SOMEBODY="x")
    wrong, _found = problems(nexus)
    assert wrong["NEXUS_EXPROT is no setting"] == "did you mean NEXUS_EXPORT?"
    assert any(line.startswith("NEXUS_SUMMARY='perhaps'") for line in wrong)
    assert len(wrong) == 2


def test_what_waits_is_a_problem(set_to, home, nexus):  # noqa: F811
    run(home, "_s, p = opened(home, To()); p.get_tracer('x').start_span('a').end(); os._exit(0)")
    wrong, found = problems(nexus)
    assert wrong == {"1 request for http://collector:4318/v1/traces not sent yet": "nexus-otel flush"}
    assert found["store"]["segments"] == 1


def test_a_store_that_cannot_be_written_to(set_to, home, nexus):  # noqa: F811
    home.write_text("a file")
    wrong, _found = problems(nexus)
    assert wrong == {f"{home} cannot be written to: a temporary folder is used": "set NEXUS_HOME"}


def test_a_method_that_the_library_lacks_is_missing(monkeypatch):
    import anthropic.resources.messages.messages as defined

    monkeypatch.delattr(defined.Messages, "create")
    assert probe("anthropic")["missing"] == ["anthropic.resources.messages.messages.Messages.create"]


def test_a_version_out_of_range_and_another_instrumentation(set_to, nexus, monkeypatch):  # noqa: F811
    monkeypatch.setattr(AnthropicInstrumentor, "requires", ("anthropic >= 99",))
    monkeypatch.setattr(checks, "_ALL_IN_ONE", ("anthropic",))
    wrong, _found = problems(nexus)
    assert [line.split()[0] for line in wrong][:2] == ["anthropic", "anthropic"]
    assert "set NEXUS_ON_CONFLICT=yield, or do not activate it" in wrong.values()
    set_to(NEXUS_ON_CONFLICT="yield")
    assert len(problems(nexus)[0]) == 1


@pytest.mark.parametrize(
    ("requires", "fits"), [(("anthropic >= 0.1", "anthropic >= 99"), True), (("anthropic < 0",), False), ((), True)]
)
def test_a_version_that_meets_one_of_the_requirements_is_in_range(monkeypatch, requires, fits):
    monkeypatch.setattr(AnthropicInstrumentor, "requires", requires)
    (library,) = [one for one in checks.instrumentors() if one["name"] == "anthropic"]
    assert library["in_range"] is fits


@pytest.mark.parametrize(
    ("distribution", "other"),
    [
        ("openinference-instrumentation-anthropic", True),
        ("opentelemetry-instrumentation-anthropic", True),
        ("opentelemetry-instrumentation-genai-anthropic", True),
        ("traceloop-sdk", True),
        ("opentelemetry-instrumentation-openai", False),
        ("anthropic", False),
    ],
)
def test_other_instrumentations_are_known_by_name(distribution, other):
    assert checks._records(distribution, "anthropic") is other


# -- what is imported too early, and what is not there ------------------------------------------------------------------


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Give a folder that is on the path of the Pythons that are started, before the installed packages."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def library(nexus):  # noqa: F811
    return next(one for one in problems(nexus)[1]["instrumentors"] if one["name"] == "anthropic")


def test_each_patch_point_is_named(set_to, nexus):  # noqa: F811
    found = library(nexus)
    assert "anthropic.resources.messages.messages.Messages.create" in found["bound"]
    assert "anthropic._base_client.BaseClient._tracer" in found["replaced"]
    assert (found["missing"], found["lost"], found["held"]) == ([], [], [])
    _code, out, _err = nexus("doctor")
    assert "wrapped in anthropic.resources.messages.messages: Messages.create, AsyncMessages.create, " in out
    assert "replaced in anthropic._base_client: BaseClient._tracer, " in out


def test_what_the_library_lacks_of_what_is_replaced_is_a_problem(set_to, nexus, monkeypatch):  # noqa: F811
    facts = {**checks.instrumentors()[0], "lost": ["anthropic._base_client.BaseClient._tracer"]}
    monkeypatch.setattr(checks, "instrumentors", lambda: [facts])
    (line,) = problems(nexus)[0]
    assert line.endswith("has no anthropic._base_client.BaseClient._tracer: what is read there is not known")


def test_the_probe_finds_what_is_held_elsewhere(monkeypatch):
    """A class and a module of the library that took over what is wrapped, before it was wrapped."""
    import anthropic.resources.messages.messages as defined
    from anthropic import _constants
    from anthropic.lib.tools import _beta_runner

    taken = type("Taken", (), {"ask": vars(defined.Messages)["create"], "__module__": _constants.__name__})
    monkeypatch.setattr(_constants, "Taken", taken, raising=False)
    monkeypatch.setattr(_constants, "kept", _beta_runner.tool_use_span, raising=False)
    assert probe("anthropic")["held"] == [f"{_constants.__name__}.Taken.ask", f"{_constants.__name__}.kept"]
    monkeypatch.undo()
    assert probe("anthropic")["held"] == []
    assert not AnthropicInstrumentor().is_instrumented_by_opentelemetry


def test_a_library_that_python_imports_before_the_launcher_is_active(set_to, nexus, other, monkeypatch):  # noqa: F811
    (other / "sitecustomize.py").write_text("import anthropic\n")
    wrong, found = problems(nexus)
    assert wrong == {}
    assert found["launcher"]["imported_before"] == ["anthropic"]
    assert "imported before nexus-instrument is active" in nexus("doctor")[1]
    facts = {**found["instrumentors"][0], "held": ["anthropic.lib.Kept.create"]}
    monkeypatch.setattr(checks, "instrumentors", lambda: [facts])
    assert problems(nexus)[0] == {
        "anthropic is imported before nexus-instrument is active: anthropic.lib.Kept.create not recorded": (
            "do not import it in a .pth file or in sitecustomize"
        )
    }


@pytest.mark.parametrize(
    ("variables", "places"),
    [
        ({}, ["the local store"]),
        ({"NEXUS_EXPORT": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "console"}, ["the exporter console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, ["http://127.0.0.1:9/v1/traces"]),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "NEXUS_EXPORT": "local,otlp"},
            ["the local store", "http://127.0.0.1:9/v1/traces"],
        ),
    ],
)
def test_where_spans_go_is_said(set_to, nexus, variables, places):  # noqa: F811
    set_to(**variables)
    assert problems(nexus)[1]["spans_to"] == places
    assert f"go to {' and '.join(places) or 'nobody'}\n" in nexus("doctor")[1]


def test_another_instrumentation_is_named_whatever_is_done_about_it(set_to, nexus, monkeypatch):  # noqa: F811
    monkeypatch.setattr(checks, "_ALL_IN_ONE", ("anyio",))
    set_to(NEXUS_ON_CONFLICT="yield")
    assert problems(nexus)[0] == {}
    assert "can be recorded by anyio too" in nexus("doctor")[1]
