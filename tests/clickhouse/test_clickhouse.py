"""Reading from ClickHouse gives what reading the local store gives: real SQL, over the real client."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from urllib.parse import quote

import pytest

from nexus_otel import config
from nexus_otel.cli import app
from tests.clickhouse.server import PASSWORD, ClickHouse, rows_of
from tests.e2e.kit import EXAMPLE, LAUNCHER, PYTHON, World
from tests.fakes.demo import demo_script
from tests.fakes.provider import Provider

NUMBERS = itertools.count(1)
LOOP = """
import sys
import nexus_otel
user, version = sys.argv[1:]
client = nexus_otel.NexusClient(agent_id="looper")
with client.start_trace(metadata={"input": "go", "user_id": user, "agent_version": version, "environment": "test",
                                  "rank": 7, "share": 0.5, "flag": True}) as trace:
    for n in range(5):
        with trace.start_span("llm-call", {"model": "m"}) as span:
            span.end(output={"input_tokens": 100 + n, "output_tokens": 5})
        with trace.start_span("tool-call", {"tool": "look", "input": {"key": "a"}}) as span:
            span.end(output={"result": "nothing"})
"""
USERS = {"ann": "1.0", "bob": "1.1", "it's \\ 7": "1.1"}


@pytest.fixture(scope="module")
def clickhouse():
    with ClickHouse() as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A local store with the runs of the example, and those of an agent that loops."""
    folder = tmp_path_factory.mktemp("runs")
    with Provider() as provider:
        world = World.made(provider, folder, demo_script(9))
        assert world.run(LAUNCHER, PYTHON, EXAMPLE).code == 0
        world.load(demo_script(2))
        assert world.run(LAUNCHER, PYTHON, EXAMPLE, "--how", "stream").code == 0
        for user, version in USERS.items():
            assert world.run(PYTHON, world.write("agent.py", LOOP), user, version).code == 0
    return world.home


@pytest.fixture
def nexus(home, monkeypatch, capsys):
    monkeypatch.setenv("NEXUS_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "120")
    config.use(None)

    def run(*arguments):
        code = app.run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    yield run
    config.use(None)


@pytest.fixture
def address(clickhouse, nexus):
    """The address of a table with the runs of the store; the first span of each came twice."""
    name = f"traces{next(NUMBERS)}"
    requests = [json.loads(line) for line in nexus("export")[1].splitlines()]
    rows = list(rows_of(requests))
    clickhouse.table(name, [*rows, *rows[::5]])
    return f"clickhouse://reader:{quote(PASSWORD, '')}@127.0.0.1:{clickhouse.port}/otel?table={name}"


def ids(nexus):
    return [run["id"] for run in json.loads(nexus("traces", "--json")[1])["runs"]]


TRACES = [
    (), ("--json",), ("--limit", "2"), ("--agent", "looper"), ("--agent", "anthropic_agent", "--json"),
    ("--model", "m"), ("--tool", "get_weather"), ("--user", "ann"), ("--user", "it's \\ 7"), ("--env", "test"),
    ("--version", "1.1"), ("--version", "1.1", "--user", "bob"), ("--status", "ok"), ("--since", "1h"),
    ("--where", "nexus.metadata.rank=7"), ("--where", "nexus.metadata.share=0.5"),
    ("--where", "nexus.metadata.flag=True"), ("--where", "gen_ai.response.finish_reasons=tool_call"),
]  # fmt: skip


@pytest.mark.parametrize("options", TRACES, ids=" ".join)
def test_traces_lists_the_same(nexus, address, options):
    here = nexus("traces", *options)
    assert here[0] == 0
    assert nexus("traces", "--store", address, *options) == here


@pytest.mark.parametrize(
    "options", [("--user", "nobody"), ("--status", "error"), ("--status", "open"), ("--git", "abcd")]
)
def test_what_is_not_there_is_not_found(nexus, address, options):
    assert nexus("traces", *options)[0] == 1
    code, out, err = nexus("traces", "--store", address, *options)
    assert (code, out) == (1, "")
    assert " ".join(options) in err
    assert "reader" not in err


def test_filters_are_asked_of_the_server(nexus, address, clickhouse):
    clickhouse.asked.clear()
    nexus("traces", "--store", address, "--user", "ann", "--json")
    (listing,) = [sql for sql in clickhouse.asked if "GROUP BY TraceId" in sql]
    assert "ann" not in listing  # it is a parameter
    assert listing.count("SpanAttributes[") >= 1
    assert len([sql for sql in clickhouse.asked if "Events.Name" in sql]) == 1


def test_names_are_asked_of_the_server_too(nexus, address, clickhouse):
    clickhouse.asked.clear()
    code, out, _err = nexus("compare", "--by", "version", "1.0", "--store", address, "--json")
    assert code == 0
    assert [(one["name"], one["runs"]) for one in json.loads(out)["sets"]] == [("1.0", 1)]
    assert len([sql for sql in clickhouse.asked if "Events.Name" in sql]) == 1


def test_diagnose_finds_the_same(nexus, address):
    found = 0
    for run in ids(nexus):
        here = nexus("diagnose", run, "--json")
        assert nexus("diagnose", run, "--json", "--store", address) == here
        assert nexus("diagnose", run, "--store", address) == nexus("diagnose", run)
        found += here[1].count("\n")
    assert found >= 3
    assert nexus("diagnose", "--store", address, "--fail-on", "loop")[0] == 3


def test_compare_says_the_same(nexus, address):
    first, second, *_ = ids(nexus)
    for arguments in ((first, second), (first, second, "--json"), ("--by", "version"), ("--by", "agent", "--json"),
                      ("--by", "version", "--since", "1h", "1.1"), ("--by", "agent", "loop", "anthropic")):  # fmt: skip
        here = nexus("compare", *arguments)
        assert here[0] == 0
        assert nexus("compare", *arguments, "--store", address) == here


def test_show_shows_the_same(nexus, address):
    for run in ids(nexus):
        here = nexus("show", run[:8])
        assert nexus("show", run[:8], "--store", address) == here
        assert nexus("show", run, "--content", "--store", address) == nexus("show", run, "--content")
    span = json.loads(here and nexus("show", "--json")[1])["spans"][0]["span_id"]
    assert nexus("show", "--span", span, "--store", address)[0] == 0


# -- bad input ---------------------------------------------------------------------------------------------------------


def refused(done):
    code, out, err = done
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert PASSWORD not in err
    assert quote(PASSWORD, "") not in err
    return err


@pytest.mark.parametrize("command", ["traces", "diagnose", "show"])
def test_nobody_there(nexus, command):
    secret = quote(PASSWORD, "")
    assert "no answer" in refused(nexus(command, "--store", f"clickhouse://u:{secret}@127.0.0.1:1/otel"))


def test_a_password_in_the_environment(nexus, address, monkeypatch):
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", PASSWORD)
    here = nexus("traces")
    assert nexus("traces", "--store", address.replace(f":{quote(PASSWORD, '')}", "")) == here


def test_a_wrong_password(nexus, address):
    assert "not let in" in refused(nexus("traces", "--store", address.replace(quote(PASSWORD, ""), "other")))


def test_a_table_that_is_not_there_or_is_another(nexus, address, clickhouse):
    start = address.partition("?")[0]
    assert "there is no table otel.missing" in refused(nexus("traces", "--store", f"{start}?table=missing"))
    clickhouse.run("CREATE TABLE IF NOT EXISTS otel.other (TraceId String) ENGINE = Memory")
    assert "not a table of the collector's exporter" in refused(nexus("traces", "--store", f"{start}?table=other"))


@pytest.mark.parametrize(
    "bad", ["postgres://u:{}@h/d", "clickhouse://u:{}@h:port/d", "clickhouse://u:{}@h/d?table=a`b", "clickhouse://"]
)
def test_no_address(nexus, bad):
    assert "expected" in refused(nexus("traces", "--store", bad.format(quote(PASSWORD, ""))))


def test_without_the_client_the_extra_is_named(tmp_path):
    program = (
        "import sys; sys.modules['clickhouse_connect'] = None\n"
        "from nexus_otel.cli import app; sys.exit(app.run(['traces', '--store', 'clickhouse://u:secret@h/d']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nexus-otel[clickhouse]" in done.stderr
    assert "secret" not in done.stderr
