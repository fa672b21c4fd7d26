import json

import pytest

from nexus_otel.cli.runs import runs_of
from nexus_otel.cli.store import newest_first
from nexus_otel.export.read import read_store
from nexus_otel.export.scan import Scan
from tests.cli.samples import AGENT, CHAT, TOOL, span, travel, write
from tests.cli.test_commands import BARE, FAILED, TRACE, home, nexus  # noqa: F401 - fixtures

LOOKS_LIKE_A_NUMBER = [
    span(1, 0, "call", 200, 201, {**CHAT, "tries": 3, "cached": True, "tags": ("a", "b")}, trace_id="d" * 32)
]
DIED = [span(1, 0, "invoke_agent late", 300, None, {**AGENT, "gen_ai.agent.name": "late"}, trace_id="e" * 32)]


@pytest.fixture
def full(home):  # noqa: F811
    write(home, travel() + BARE + FAILED + LOOKS_LIKE_A_NUMBER)
    return home


@pytest.mark.parametrize(
    ("arguments", "traces"),
    [
        (["--agent", "travel"], ["c", "3"]),
        (["--agent", "call"], ["d"]),
        (["--agent", "svc"], []),
        (["--model", "model-x"], ["d", "b", "3"]),
        (["--tool", "book"], ["3"]),
        (["--error", "TimeoutError"], ["3"]),
        (["--error", "Timeout"], []),
        (["--where", "gen_ai.tool.call.id=t2"], ["3"]),
        (["--where", "service.name=svc"], ["d", "b", "c", "3"]),
        (["--where", "tries=3"], ["d"]),
        (["--where", "cached=true"], ["d"]),
        (["--where", "tags=b"], ["d"]),
        (["--where", "tries=3", "--where", "cached=false"], []),
        (["--model", "model-x", "--tool", "search"], ["3"]),
        (["--agent", "travel", "--status", "error"], ["c"]),
        (["--model", "model-x", "--limit", "2"], ["d", "b"]),
    ],
)
def test_runs_are_filtered_by_what_their_spans_say(full, nexus, arguments, traces):  # noqa: F811
    code, out, _err = nexus("traces", "--json", *arguments)
    assert [run["trace_id"][0] for run in json.loads(out)["runs"]] == traces
    assert code == (0 if traces else 1)


def test_metadata_given_by_hand_and_by_variables_finds_the_run(home, nexus, tmp_path):  # noqa: F811
    from subprocess import run
    from sys import executable

    program = """
import nexus_otel
nexus_otel.NexusClient(agent_id="a").start_trace(
    metadata={"user_id": "u81", "session_id": "s1", "environment": "production", "git_sha": "9ab12f0", "plan": "pro"}
).end()
with nexus_otel.context(agent_version="1.2.0"):
    nexus_otel.NexusClient(agent_id="b").start_trace().end()
"""
    given = {"NEXUS_HOME": str(home), "OTEL_RESOURCE_ATTRIBUTES": "service.version=7", "GITHUB_SHA": "abcdef12"}
    run([executable, "-c", program], check=True, env=given, cwd=tmp_path)
    for arguments, agents in [
        (["--user", "u81"], ["a"]), (["--session", "s1"], ["a"]), (["--env", "production"], ["a"]),
        (["--git", "9ab1"], ["a"]), (["--git", "abcdef12"], ["b", "a"]), (["--version", "1.2.0"], ["b"]),
        (["--version", "7"], ["b", "a"]), (["--where", "nexus.metadata.plan=pro"], ["a"]), (["--git", "9ab9"], []),
    ]:  # fmt: skip
        _code, out, _err = nexus("traces", "--json", *arguments)
        assert [found["agent"] for found in json.loads(out)["runs"]] == agents, arguments


def test_no_match_names_all_filters(full, nexus):  # noqa: F811
    code, out, err = nexus("traces", "--tool", "none", "--where", "a=b")
    assert (code, out) == (1, "")
    assert err == "nexus-otel: no run in 4 traces matches --tool none --where a=b\n"


@pytest.mark.parametrize("bad", [["--where", "model"], ["--where", "=x"], ["--agent", ""], ["--tool", " "]])
def test_a_bad_filter_is_one_line(full, nexus, bad):  # noqa: F811
    code, out, err = nexus("traces", *bad)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert bad[0] in err


def test_the_error_of_a_span_that_never_ended_is_found(home, nexus):  # noqa: F811
    from subprocess import run
    from sys import executable

    program = f"from tests.cli.samples import write, span\nimport os\nwrite.__globals__['Spool'].close = lambda _s: os._exit(0)\nfrom pathlib import Path\nfrom tests.cli.test_filters import DIED\nwrite(Path({str(home)!r}), DIED)"
    run([executable, "-c", program], check=True)
    _code, out, _err = nexus("traces", "--json", "--error", "process_ended")
    assert [run["agent"] for run in json.loads(out)["runs"]] == ["late"]


def test_the_lazy_order_is_that_of_all_runs(home):  # noqa: F811
    parent_late = [
        span(1, 0, "invoke_agent x", -50, 900, AGENT, trace_id="f" * 32),
        span(2, 1, "execute_tool y", 800, 801, TOOL, trace_id="f" * 32),
    ]
    write(home, travel() + BARE + FAILED + LOOKS_LIKE_A_NUMBER + parent_late)
    every = [run.id for run in runs_of(read_store(home).spans)]
    assert [run.id for run in newest_first(Scan(home))] == every
    assert every[-1] == "f" * 32
    assert TRACE in every
