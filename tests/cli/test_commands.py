import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nexus_otel import config
from nexus_otel._version import __version__
from nexus_otel.cli import app
from nexus_otel.cli.content import NOT_RECORDED
from tests.cli.samples import AGENT, CHAT, START, TRACE, span, span_id, travel, write

BARE = [span(1, 0, "chat model-x", 100, 101, CHAT, trace_id="b" * 32)]
FAILED = [span(1, 0, "invoke_agent other", 50, 52, AGENT, trace_id="c" * 32, status=2)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    config.use(None)
    yield tmp_path / "home"
    config.use(None)


@pytest.fixture
def full(home):
    write(home, travel() + BARE + FAILED)
    return home


@pytest.fixture
def nexus(capsys):
    def run(*arguments):
        code = app.run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


# -- traces --------------------------------------------------------------------------------------------


def test_traces_lists_runs_newest_first(full, nexus):
    code, out, err = nexus("traces")
    assert (code, err) == (0, "")
    when = datetime.fromtimestamp(START / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "time run agent status duration steps tools tokens in/out"
    assert [line.split()[2] for line in lines[1:]] == ["bbbbbbbb", "cccccccc", "3f9c2b1a"]
    assert lines[3] == f"{when} 3f9c2b1a travel ok 41.2 s 2 2 (1 failed) 3,504 / 388"


def test_traces_as_json(full, nexus):
    _code, out, _err = nexus("traces", "--json")
    found = json.loads(out)
    assert found["schema"] == 1
    assert found["runs"][2] == {
        "id": TRACE,
        "trace_id": TRACE,
        "span_id": span_id(1),
        "agent": "travel",
        "status": "ok",
        "died": False,
        "error.type": None,
        "start": "2025-11-24T16:00:00+00:00",
        "duration_s": 41.2,
        "steps": 2,
        "tool_calls": 2,
        "errors": 1,
        "input_tokens": 3504,
        "output_tokens": 388,
    }


def test_traces_of_one_status(full, nexus):
    _code, out, _err = nexus("traces", "--status", "error", "--json")
    (run,) = json.loads(out)["runs"]
    assert run["id"] == "c" * 32


def test_traces_has_a_limit_and_says_so(full, nexus):
    _code, out, _err = nexus("traces", "--limit", "1")
    assert out.splitlines()[-1] == "there are older ones: --limit 2"


def test_traces_since_a_date(full, nexus):
    after = datetime.fromtimestamp(START / 1e9 + 60, UTC).isoformat()
    _code, out, _err = nexus("traces", "--since", after, "--json")
    assert [run["id"] for run in json.loads(out)["runs"]] == ["b" * 32]


def test_traces_that_match_nothing(full, nexus):
    code, out, err = nexus("traces", "--since", "1s", "--status", "open")
    assert (code, out) == (1, "")
    assert err == "nexus-otel: no run in 3 traces matches --status open --since 1s\n"


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_traces_fits_a_narrow_terminal(full, nexus, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    _code, out, _err = nexus("traces")
    assert max(map(len, out.splitlines())) <= width
    assert "3f9c2b1a" in out


# -- show ----------------------------------------------------------------------------------------------


def test_show_prints_the_newest_run(full, nexus):
    code, out, err = nexus("show")
    assert (code, err) == (0, "")
    assert out.startswith("run bbbbbbbb  chat model-x  ok  1.0 s\n")


def test_show_prints_header_and_tree(full, nexus):
    _code, out, _err = nexus("show", "3f9c")
    assert f"id {TRACE}" in out
    assert f"{span_id(4)[:8]}  ├─ execute_tool book" in out
    assert "✗ TimeoutError: no answer within 17 s" in out
    assert "nexus-otel show 3f9c2b1a --content" in out


def test_show_content_prints_only_what_is_new(full, nexus):
    _code, out, _err = nexus("show", "3f9c", "--content")
    said = out[out.index("step 1") :]
    assert said == (
        "step 1  chat model-x  [00000002]\n"
        "  system  Be brief.\n"
        "  tools  search, book\n"
        "  user  Plan two days in Paris\n"
        "  assistant  Let me look.\n"
        "  assistant calls  search\n"
        "  assistant calls  book\n"
        "\n"
        "execute_tool search  [00000003]\n"
        '  arguments  {"q": "hotels"}\n'
        "  result\n" + "".join(f"    hotel {n}\n" for n in range(12)) + ""
        "    ... 28 more lines (nexus-otel show 3f9c2b1a --span 00000003)\n"
        "\n"
        "execute_tool book  [00000004]\n"
        '  arguments  {"nights": 2}\n'
        "  result  timed out\n"
        "\n"
        "step 2  chat model-x  [00000006]\n"
        "  tool answers  (of search, above)\n"
        "  tool answers  (of book, above)\n"
        "  assistant  Here is the plan.\n"
        "\n"
    )


def test_show_content_says_that_there_is_none(full, nexus):
    _code, out, _err = nexus("show", "last", "--content")
    assert out.endswith(NOT_RECORDED + "\n")


def test_show_span_prints_everything(full, nexus):
    code, out, _err = nexus("show", "--span", "00000003")
    assert code == 0
    assert f"  trace  {TRACE}\n  span  {span_id(3)}\n  parent  {span_id(1)}\n" in out
    assert "  nexus.derived  true\n" in out
    assert "hotel 39" in out
    assert "service.name  svc" in out


def test_show_span_prints_events_and_messages(full, nexus):
    _code, out, _err = nexus("show", "3f9c", "--span", "00000002")
    assert "event nexus.retry at +1.0 s\n  nexus.retry.attempt  1\n" in out
    assert 'assistant calls  search {"q": "hotels"}' in out


def test_show_span_in_the_wrong_run(full, nexus):
    code, out, err = nexus("show", "cccc", "--span", "00000003")
    assert (code, out, err) == (1, "", "nexus-otel: no span 00000003\n")


def test_a_beginning_of_several_spans_is_a_usage_error(full, nexus):
    code, _out, err = nexus("show", "3f9c", "--span", "0000")
    assert code == 2
    assert err.startswith("nexus-otel: 0000 means 6 spans: ")


def test_show_as_json_has_run_and_spans_with_content(full, nexus):
    _code, out, _err = nexus("show", "3f9c", "--json")
    found = json.loads(out)
    assert (found["schema"], found["run"]["id"], len(found["spans"])) == (1, TRACE, 6)
    assert found["spans"][1]["events"][0]["name"] == "nexus.retry"
    assert "Plan two days" in found["spans"][1]["attributes"]["gen_ai.input.messages"]


def test_show_span_as_json(full, nexus):
    _code, out, _err = nexus("show", "--span", span_id(3), "--json")
    assert json.loads(out)["span"]["name"] == "execute_tool search"


# -- export --------------------------------------------------------------------------------------------


def exported(out):
    requests = [json.loads(line) for line in out.splitlines()]
    return {
        one["traceId"]
        for request in requests
        for around in request["resourceSpans"]
        for scope in around["scopeSpans"]
        for one in scope["spans"]
    }


def test_export_writes_the_whole_store(full, nexus):
    code, out, err = nexus("export")
    assert (code, err) == (0, "")
    assert exported(out) == {TRACE, "b" * 32, "c" * 32}


def test_export_writes_the_runs_named(full, nexus):
    _code, out, _err = nexus("export", "last", "3f9c")
    assert exported(out) == {TRACE, "b" * 32}


def test_export_of_no_such_run(full, nexus):
    assert nexus("export", "dddd") == (1, "", "nexus-otel: no run dddd\n")


# -- flush ---------------------------------------------------------------------------------------------

SERVER = "http://127.0.0.1:9"


def left_behind(home):
    """What a process that is no more recorded for the server."""
    code = (
        "import sys, pathlib; from tests.cli.samples import travel, write;"
        "from nexus_otel.export.destinations import destination;"
        "write(pathlib.Path(sys.argv[1]), travel(), [destination('traces')])"
    )
    done = as_process(f'{sys.executable} -c "{code}" {home}', OTEL_EXPORTER_OTLP_ENDPOINT=SERVER)
    assert done.stderr == ""


def test_flush_of_nothing_is_done(full, nexus):
    assert nexus("flush") == (0, "sent 0 requests\n", "")


def test_flush_says_what_the_destination_did_not_take(home, nexus, monkeypatch):
    left_behind(home)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", SERVER)
    code, out, err = nexus("flush", "--timeout", "0.2")
    assert (code, out) == (1, "sent 0 requests\n")
    assert err == "nexus-otel: 6 requests not accepted within 0.2 s are kept; try again\n"


def test_flush_says_what_is_for_others_and_what_to_set(home, nexus, monkeypatch):
    left_behind(home)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    code, _out, err = nexus("flush", "--timeout", "0.2")
    assert code == 1
    assert err.startswith(f"nexus-otel: 6 requests for {SERVER}/v1/traces are kept: set OTEL_EXPORTER_OTLP_ENDPOINT")
    assert err.count("\n") == 1


def test_flush_with_a_bad_address_is_a_usage_error(full, nexus, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")
    code, _out, err = nexus("flush")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("nexus-otel: OTEL_EXPORTER_OTLP_ENDPOINT='nowhere'")


# -- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["traces", "show", "export"])
def test_an_empty_store_is_one_line(home, nexus, command):
    code, out, err = nexus(command)
    assert (code, out) == (1, "")
    assert err == (
        f"nexus-otel: no run is recorded in {home}; try: nexus-instrument python agent.py "
        "(runs that an endpoint took are kept here with NEXUS_EXPORT=local,otlp only)\n"
    )


def test_an_empty_store_as_json_is_an_empty_list(home, nexus):
    code, out, _err = nexus("traces", "--json")
    assert (code, json.loads(out)) == (1, {"schema": 1, "runs": []})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["traces", "--since", "soon"], "--since 'soon': expected a length of time"),
        (["traces", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range x>=1."),
        (["traces", "--status", "fine"], "Invalid value for '--status': 'fine' is not one of"),
        (["show", "3f"], "'3f' is too short: give at least 4 characters of a run's id"),
        (["show", "--span", "3f"], "'3f' is too short: give at least 4 characters of a span's id"),
        (["nothing"], "No such command 'nothing'."),
        (["show", "--nothing"], "No such option"),
    ],
)
def test_a_usage_error_is_one_line(full, nexus, arguments, line):
    code, out, err = nexus(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"nexus-otel: {line}")
    assert err.count("\n") == 1


def test_no_command_is_a_usage_error_with_help(nexus):
    code, out, err = nexus()
    assert (code, out) == (2, "")
    assert "traces" in err


def test_a_store_that_cannot_be_read_is_one_line(home, nexus):
    (home / "spool").mkdir(parents=True)
    write(home, travel())
    for path in (home / "spool").iterdir():
        path.write_bytes(b"not a segment")
    code, out, err = nexus("traces")
    assert (code, out) == (2, "")
    assert err.startswith("nexus-otel: cannot read ")
    assert err.count("\n") == 1


def test_a_bad_setting_is_said_and_its_default_used(full, nexus, monkeypatch):
    monkeypatch.setenv("NEXUS_SUMMARY", "maybe")
    config.use(None)
    code, _out, err = nexus("traces")
    assert (code, err) == (0, "nexus-otel: NEXUS_SUMMARY='maybe': expected auto, always, never\n")


def test_version(nexus):
    assert nexus("--version") == (0, f"nexus-otel {__version__}\n", "")


# -- as a process --------------------------------------------------------------------------------------


def as_process(command, **more):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}
    return subprocess.run(
        ["bash", "-c", f'nexus() {{ {sys.executable} -m nexus_otel.cli.app "$@"; }}; {command}'],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_a_reader_that_leaves_ends_it_silently(home):
    spans = [span(1, 0, "chat", n, n + 1, CHAT, trace_id=f"{n:032x}") for n in range(1, 2000)]
    write(home, spans)
    for command in ("export", "traces --limit 9999", "traces --json --limit 9999"):
        done = as_process(f"nexus {command} | head -c 10; exit ${{PIPESTATUS[0]}}")
        assert (done.returncode, done.stderr) == (141, ""), command


def test_a_terminal_without_unicode_is_no_error(full):
    done = as_process("nexus show 3f9c", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, "")
    assert "|- execute_tool book" in done.stdout


def test_the_base_import_loads_no_terminal():
    code = "import sys, nexus_otel.cli; print({'click', 'rich'} & set(sys.modules))"
    done = as_process(f'{sys.executable} -c "{code}"')
    assert done.stdout == "set()\n"
