"""Agents in loops that people wrote, on Anthropic's SDK, that fail in each way; and the report of each."""

import io

import pytest
from rich.console import Console

from nexus_otel import config
from nexus_otel.cli.findings import findings_of
from nexus_otel.cli.report import print_report
from nexus_otel.cli.runs import runs_of
from nexus_otel.config import Settings
from nexus_otel.export.read import read_store
from tests.findings.failing import FAILING, LIMIT, Failing, Framework
from tests.findings.suite import *  # noqa: F403

SLOW = Failing(FAILING["slow_tool"].script, {"latency_spike": "info"}, FAILING["slow_tool"].at)
"""Nobody watched the tool: a person may have sat in between."""
FRAMEWORK = Framework("on_anthropic.py", other={"slow_tool": SLOW})
FIRST = {
    "tool_error": ("! TOOL_ERROR  charge failed once: ValueError, bad_arguments", "action 2, "),
    "got_over": ("- TOOL_ERROR  charge failed once: ValueError, bad_arguments", "action 2, "),
    "retry": ("! TOOL_ERROR  charge failed twice: ValueError, bad_arguments (also retry)", "actions 2-4 of 5, "),
    "loop": ("! LOOP  search was called 6 times in a row with the same input and gave the same answer",
             "actions 2-12 of 13, since the 2nd: "),
    "loop_of_errors": ("! LOOP  charge failed 6 times with the same error whatever the arguments: ValueError,",
                       "(also tool_error)", "actions 2-12 of 13, since the 2nd: ", "differs only in order"),
    "loop_of_one_error": ("! LOOP  charge failed 5 times with the same error to the same call: ValueError,",
                          "(also tool_error)"),
    "cycle": ("! LOOP  the same 2 calls of search, charge with the same answers, 4 times over",
              "actions 2-16 of 17, since the 2nd: "),
    "unknown_tool": ("! HALLUCINATED_ACTION  send_mail is not a tool of this agent, once", "action 2, "),
    "wrong_arguments": ("! HALLUCINATED_ACTION  search got arguments that it does not take (required:query,",
                        "action 2, "),
    "filling": ("! CONTEXT_OVERFLOW  the context is 82% full: 41,000 of 50,000 tokens; search added 21,000",
                "actions 2-3 of 3, ", "-> shorten what search gives back"),
    "overflow": ("! CONTEXT_OVERFLOW  the context overflowed: 212,000 tokens; the limit is 200,000; search",
                 "actions 2-3 of 3, ", "-> shorten what search gives back"),
    "slow_tool": ("- LATENCY_SPIKE  1.6 s between two model calls, in which build ran", "action 2, "),
}  # fmt: skip
"""What the first lines of each report say: the cause, the place, and where that is certain what to do."""


@pytest.fixture
def report(runs):
    """The report of a run, as lines of a terminal of 100 columns."""

    def made(name, off=False):
        outcome = runs[off][name]
        config.use(Settings(home=outcome.home, context_limits=((FRAMEWORK.model, LIMIT),),
                            thresholds=(("hard_tool_s", 1.2), ("slow_tool_s", 1.0))))  # fmt: skip
        every = runs_of(read_store(outcome.home).spans)
        (run,) = [run for run in every if run.trace_id == outcome.root.trace_id]
        out = io.StringIO()
        print_report(run, run.trace_id[:8], findings_of(run), Console(file=out, width=100, force_terminal=False))
        return out.getvalue().splitlines()

    yield made
    config.use(None)


@pytest.mark.parametrize("off", [False, True], ids=["kept here", "off"])
@pytest.mark.parametrize("name", FAILING)
def test_the_report_fits_100_columns(name, off, report):
    lines = report(name, off)
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 40
    assert sum(line.startswith(("! ", "- ")) for line in lines) <= 3


@pytest.mark.parametrize("name", FIRST)
def test_the_report_names_cause_place_and_next_step_first(name, report):
    lines = report(name)
    head = lines[: lines.index("")]
    assert head[0].startswith("RUN ")
    assert head[2].startswith(FIRST[name][0])
    text = " ".join(" ".join(head).split())
    for part in FIRST[name][1:]:
        assert part.strip() in text
    assert any(line.startswith("    -> ") for line in head)
    assert sum(line.startswith(("! ", "- ")) for line in lines) == 1


@pytest.mark.parametrize("name", ["good", "polling", "paging"])
def test_a_report_of_nothing_says_what_was_checked_and_what_could_not_be(name, report):
    assert "  nothing found" in report(name)
    text = " ".join(report(name))
    assert "checked: tool errors, retries, loops, invented tools and arguments, context, latency" in text
    assert "no content was recorded" not in text
    assert "no content was recorded: arguments and answers are compared by their hashes" in " ".join(report(name, True))
