"""`diagnose`, `compare` and `watch`: what is found in the store and in files, on one screen and as JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time

import pytest

from nexus_otel.cli.compare import _matcher
from tests.cli.test_commands import home, nexus  # noqa: F401 - fixtures

LOOP = """
import nexus_otel
with nexus_otel.NexusClient(agent_id="looper").start_trace(metadata={"input": "go", "agent_version": VERSION}) as trace:
    for n in range(CALLS):
        with trace.start_span("llm-call", {"model": "m"}) as span:
            span.end(output={"input_tokens": 100 + n, "output_tokens": 5})
        with trace.start_span("tool-call", {"tool": "look", "input": {"key": "a"}}) as span:
            span.end(output={"result": ANSWER})
"""


def ran(home, *, calls=5, answer='"nothing"', version="1.0.0", model="m", **env):  # noqa: F811
    program = LOOP.replace("CALLS", str(calls)).replace("ANSWER", answer).replace("VERSION", repr(version))
    program = program.replace('"model": "m"', f'"model": {model!r}')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NEXUS_"))}
    subprocess.run([sys.executable, "-c", program], check=True, env={**kept, "NEXUS_HOME": str(home), **env})


def test_the_report_names_cause_place_and_next_step_first(home, nexus):  # noqa: F811
    ran(home)
    code, out, _err = nexus("diagnose")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("RUN ")
    assert "looper" in lines[0]
    assert lines[2].startswith("! LOOP  look was called")
    for label in ("1 Failing span", "2 Its input", "3 Token trend", "4 Step timing", "5 Steps and loops"):
        assert any(line.startswith(label) for line in lines), label
    assert '{"key":"a"}' in out
    assert "last 5 of 10 actions" in out


def test_it_is_said_how_often_the_same_was_found_before(home, nexus):  # noqa: F811
    ran(home, calls=1, version="1.0.0")
    ran(home, version="1.1.0")
    assert "Same finding" in nexus("diagnose")[1]
    assert "Same finding: 1 of 2 runs of looper: 1 of 1 since v1.1.0, 0 of 1 before\n" in nexus("diagnose")[1]
    ran(home, calls=1, version="1.1.0")
    assert "Same finding" not in nexus("diagnose")[1]


def test_a_version_with_which_it_came_is_likely_the_cause(home, nexus):  # noqa: F811
    for _ in range(10):
        ran(home, calls=1, version="1.0.0")
    ran(home, version="1.1.0")
    assert "1 of 1 since v1.1.0, 0 of 10 before  -> likely v1.1.0\n" in nexus("diagnose")[1]


def test_each_finding_is_a_line_of_json_and_modes_make_the_exit_code(home, nexus):  # noqa: F811
    ran(home)
    code, out, _err = nexus("diagnose", "--json", "--fail-on", "loop")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [one["mode"] for one in found] == ["loop"]
    assert set(found[0]) == {
        "schema", "trace_id", "span_id", "mode", "level", "title", "count", "evidence", "data", "advice"
    }  # fmt: skip
    assert nexus("diagnose", "--fail-on", "context_overflow")[0] == 0


def test_a_run_without_failures_says_so_and_what_was_checked(home, nexus):  # noqa: F811
    ran(home, answer="f'page {n}'")
    _code, out, _err = nexus("diagnose")
    assert "nothing found" in out
    assert "checked: tool errors, retries, loops" in out


def test_a_file_of_others_is_read(home, nexus, tmp_path):  # noqa: F811
    ran(home)
    ran(home, answer="f'page {n}'")
    _code, lines, _err = nexus("export")
    whole, pretty, torn = tmp_path / "a.jsonl", tmp_path / "b.json", tmp_path / "c.jsonl"
    whole.write_text(lines)
    pretty.write_text("\n".join(json.dumps(json.loads(line), indent=1) for line in lines.splitlines()))
    torn.write_text(lines + '{"resourceSpans": [{"sco')
    for path in (whole, pretty, torn):
        code, out, _err = nexus("diagnose", str(path), "--json")
        assert (code, [json.loads(line)["mode"] for line in out.splitlines()]) == (0, ["loop"]), path
    _code, out, _err = nexus("diagnose", str(whole))
    assert out.startswith("2 runs, 1 run with findings")
    (segment, *_) = home.rglob("seg-*.nxs")
    assert nexus("diagnose", str(segment), "--json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["/etc/hostname"], "holds no traces"),
        (["nothing.json"], "no run and no file"),
        (["--fail-on", "loops"], "--fail-on 'loops': expected any or loop"),
    ],
)
def test_bad_input_is_one_line(home, nexus, arguments, line):  # noqa: F811
    ran(home, calls=1)
    code, out, err = nexus("diagnose", *arguments)
    assert (code, out, len(err.splitlines())) == (1 if "nothing" in arguments[0] else 2, "", 1)
    assert line in err


@pytest.mark.parametrize(
    ("modes", "code"),
    [("loop", 3), ("any", 3), ("retry,loop", 3), (" loop ,", 3), ("retry", 0), ("retry,context_overflow", 0), ("", 0)],
)
def test_exit_codes_of_fail_on(home, nexus, modes, code):  # noqa: F811
    ran(home)
    assert nexus("diagnose", "--fail-on", modes)[0] == code


def test_fail_on_may_be_given_again_and_again_and_holds_for_every_run_of_a_file(home, nexus, tmp_path):  # noqa: F811
    ran(home, answer="f'page {n}'")
    ran(home)
    path = tmp_path / "runs.jsonl"
    path.write_text(nexus("export")[1])
    assert nexus("diagnose", str(path), "--fail-on", "retry", "--fail-on", "loop")[0] == 3
    assert nexus("diagnose", str(path), "--fail-on", "retry", "--fail-on", "tool_error")[0] == 0


def test_what_is_only_info_fails_nothing(home, nexus):  # noqa: F811
    ran(home, calls=2, answer="['Error: no', 'done'][n]")
    _code, out, _err = nexus("diagnose", "--json")
    assert [(one["mode"], one["level"]) for one in map(json.loads, out.splitlines())] == [("tool_error", "info")]
    assert nexus("diagnose", "--fail-on", "any")[0] == 0


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.jsonl", b""),
        ("zeros.bin", bytes(4096)),
        ("noise.bin", bytes(range(256)) * 40),
        ("torn.pb", b"\x0a\xff\xff\xff\x0f\x12\x03abc"),
        ("text.txt", "kein Trace, nur Text: \u00e4\u00f6\n".encode()),
        ("other.json", b'{"spans": [1, 2, 3], "resourceSpans": 7}'),
        ("cut.json", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "'),
        ("deep.json", b"[" * 200_000),
    ],
)
def test_a_file_of_something_else_is_one_clear_line(home, nexus, tmp_path, name, data):  # noqa: F811
    path = tmp_path / name
    path.write_bytes(data)
    for options in ((), ("--json",)):
        code, out, err = nexus("diagnose", str(path), *options)
        assert (code in {1, 2}, out, len(err.splitlines())) == (True, "", 1), (code, out, err)
        assert name in err


def test_stdin_that_is_nothing_is_one_clear_line(home, nexus, monkeypatch):  # noqa: F811
    for data in (b"", b"no json\n"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code, out, err = nexus("diagnose", "-")
        assert (code in {1, 2}, out, len(err.splitlines())) == (True, "", 1), (code, out, err)


def test_a_corrupt_segment_is_read_as_far_as_it_goes(home, nexus):  # noqa: F811
    ran(home)
    (segment,) = home.rglob("seg-*.nxs")
    data = bytearray(segment.read_bytes())
    data[-200] ^= 0xFF
    segment.write_bytes(data)
    code, out, err = nexus("diagnose", str(segment), "--json")
    assert (code, [json.loads(line)["mode"] for line in out.splitlines()]) == (0, ["loop"]), err
    assert err == f"nexus-otel: left out: 1 damaged record in {segment}\n"


@pytest.mark.parametrize("wanted", ["0123456789abcdef", "zz", "00000000:11"])
def test_a_run_that_is_not_there_is_one_clear_line(home, nexus, wanted):  # noqa: F811
    ran(home, calls=1)
    code, out, err = nexus("diagnose", wanted)
    assert (code in {1, 2}, out, len(err.splitlines())) == (True, "", 1), (code, out, err)
    assert wanted.partition(":")[0] in err


def test_two_runs_part_where_they_do(home, nexus):  # noqa: F811
    ran(home, calls=2, answer="'x'")
    ran(home, calls=3, answer="'x'")
    _code, listed, _err = nexus("traces", "--json")
    ids = [run["id"] for run in json.loads(listed)["runs"]]
    _code, out, _err = nexus("compare", ids[1], ids[0])
    assert "they part at row 5" in out
    _code, out, _err = nexus("compare", ids[0], ids[0])
    assert "they do the same" in out
    assert nexus("compare", ids[0])[0] == 2


def test_versions_are_compared_by_their_rates(home, nexus):  # noqa: F811
    for _ in range(2):
        ran(home, answer="f'page {n}'")
        time.sleep(0.01)
        ran(home, version="1.1.0")
    _code, out, _err = nexus("compare", "--by", "version", "--json")
    sets = json.loads(out)["sets"]
    assert [(one["name"], one["runs"], one["modes"]["loop"]["count"]) for one in sets] == [
        ("1.0.0", 2, 0),
        ("1.1.0", 2, 2),
    ]
    assert sets[1]["modes"]["loop"]["low"] > 0.3
    assert sets[1]["modes"]["loop"]["high"] == pytest.approx(1.0)
    assert all(one[name]["p50"] <= one[name]["p95"] for one in sets for name in ("steps", "tokens", "duration_s"))
    _code, out, _err = nexus("compare", "--by", "version")
    assert out.splitlines()[0] == "loop: new in 1.1.0 (2 runs)"
    assert max(map(len, out.splitlines())) <= 100
    _code, out, _err = nexus("compare", "--by", "version", "1.1", "1.0", "--json")
    assert [one["name"] for one in json.loads(out)["sets"]] == ["1.1.0", "1.0.0"]
    assert nexus("compare", "--by", "version", "1")[0] == 0
    assert nexus("compare", "--by", "version", "--since", "1s", "2")[0] == 1
    assert nexus("compare", "--by", "git", "nobody")[0] == 1


@pytest.mark.parametrize(
    ("names", "name", "place"),
    [
        ([], "1.2", 0), (["1.2"], "1.2", 0), (["1.2"], "1.2.3", 0), (["1.2"], "1.20", None), (["1.20", "1.2"], "1.2.9", 1),
        (["9ab1"], "9ab12f0" + "0" * 33, 0), (["9ab1"], "8ab12f0", None), (["pro"], "prod", 0), (["a.c"], "abc", None),
    ],
)  # fmt: skip
def test_names_of_sets(names, name, place):
    assert _matcher(names)(name) == place


@pytest.mark.parametrize("by", ["version", "git", "env", "agent"])
def test_sets_of_each_kind(home, nexus, by, monkeypatch):  # noqa: F811
    monkeypatch.setenv("GIT_SHA", "9ab12f0" + "0" * 33)
    ran(home, NEXUS_ENVIRONMENT="prod", GIT_SHA="9ab12f0" + "0" * 33)
    _code, out, _err = nexus("compare", "--by", by, "--json")
    (one,) = json.loads(out)["sets"]
    value = {"version": "1.0.0", "git": "9ab12f0" + "0" * 33, "env": "prod", "agent": "looper"}[by]
    assert (one["name"], one["runs"], one["modes"]["loop"]["count"]) == (value, 1, 1)
    assert nexus("compare", "--by", by, "--since", "1h", value[:4])[0] == 0
    assert nexus("compare", "--by", by, "--since", "2030-01-01")[0] == 1


def test_sets_have_a_cost_where_prices_are_known(home, nexus):  # noqa: F811
    pytest.importorskip("genai_prices")
    ran(home, model="claude-sonnet-4-5")
    (one,) = json.loads(nexus("compare", "--by", "agent", "--json")[1])["sets"]
    assert one["cost_usd"]["p50"] == pytest.approx((sum(range(100, 105)) * 3 + 25 * 15) / 1e6)
    assert "cost, middle" in nexus("compare", "--by", "agent")[1]
    assert '"cost_usd"' in nexus("diagnose", "--json")[1]


def test_a_killed_run_is_shown_as_died_with_what_it_was_at(home, nexus):  # noqa: F811
    program = """
import nexus_otel, os, signal
trace = nexus_otel.NexusClient(agent_id="victim").start_trace()
for n in range(4):
    with trace.start_span("llm-call", {"model": "m"}) as span:
        span.end(output={"input_tokens": 100, "output_tokens": 5})
    with trace.start_span("tool-call", {"tool": "look", "input": {"key": "a"}}) as span:
        span.end(output={"result": "nothing"})
span = trace.start_span("tool-call", {"tool": "slow"})
os.kill(os.getpid(), signal.SIGKILL)
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NEXUS_"))}
    subprocess.run([sys.executable, "-c", program], env={**kept, "NEXUS_HOME": str(home)}, check=False)
    _code, out, _err = nexus("watch", "--once", "--json")
    (run,) = json.loads(out)["runs"]
    assert (run["agent"], run["died"], run["steps"]) == ("victim", True, 4)
    assert [one["mode"] for one in run["findings"]] == ["loop"]
    _code, out, _err = nexus("watch", "--once")
    assert "died" in out
    assert "execute_tool slow" in out
    assert "LOOP  look was called 4 times" in out
    assert max(map(len, out.splitlines())) <= 130
    _code, out, _err = nexus("diagnose")
    assert out.splitlines()[0].split()[2:4] == ["victim", "ERROR"]
    assert any(line.startswith("! LOOP") for line in out.splitlines())


def test_a_running_agent_is_shown_with_what_it_is_at(home, nexus):  # noqa: F811
    program = """
import nexus_otel, sys
trace = nexus_otel.NexusClient(agent_id="busy").start_trace()
span = trace.start_span("tool-call", {"tool": "slow"})
print("ready", flush=True)
sys.stdin.read()
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NEXUS_"))}
    given = {**kept, "NEXUS_HOME": str(home)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], env=given, text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        _code, out, _err = nexus("watch", "--once", "--json")
        process.stdin.close()
    (run,) = json.loads(out)["runs"]
    assert (run["agent"], run["status"], run["at"]["name"]) == ("busy", "open", "execute_tool slow")
    assert "busy" in nexus("watch", "--once")[1]
