import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from nexus_otel.cli.runs import runs_of
from nexus_otel.cli.summary import render_summary
from nexus_otel.cli.terminal import console, duration, harmless
from nexus_otel.cli.tree import error_of, notes_of, print_header, print_tree
from nexus_otel.export.read import StoredEvent
from tests.cli.samples import AGENT, CHAT, TOOL, span, travel


class Terminal(io.StringIO):
    encoding = "utf-8"

    def __init__(self, encoding="utf-8"):
        super().__init__()
        self.encoding = encoding

    def isatty(self):
        return True


def drawn(spans, width=100, encoding="utf-8", **options):
    file = Terminal(encoding)
    (run,) = runs_of(spans)
    to = Console(file=file, width=width, markup=False, highlight=False, no_color=True, force_terminal=False)
    print_header(run, to, "3f9c2b1a")
    print_tree(run, to, **options)
    return file.getvalue()


def test_a_run_is_a_tree_with_times_tokens_bars_and_errors():
    assert drawn(travel()) == (
        "run 3f9c2b1a  travel  ok  41.2 s\n"
        "2 steps, 2 tool calls, 3,504 in / 388 out tokens, 1 failed span\n"
        "invoke_agent travel         41.2 s                              ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━\n"
        "├─ chat model-x              3.1 s  1,204 in / 88 out, 1 retry  ━━━\n"
        "├─ execute_tool search      900 ms  derived                       ━\n"
        "├─ execute_tool book        16.9 s                                ━━━━━━━━━━━━━━━\n"
        "│  │  ✗ TimeoutError: no answer within 17 s\n"
        "│  └─ GET /book             15.8 s                                ━━━━━━━━━━━━━━━\n"
        "└─ chat model-x             20.5 s  2,300 in / 300 out, length                   ━━━━━━━━━━━━━━━━━━━\n"
    )


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 70, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width):
    lines = drawn(travel(), width, ids=True).splitlines()
    assert max(cell_len(line) for line in lines) <= width


def test_a_terminal_without_unicode_gets_ascii():
    assert drawn(travel(), encoding="ascii").isascii()


def test_ids_stand_in_front_of_the_rows():
    lines = drawn(travel(), ids=True).splitlines()
    assert lines[2].startswith("00000001  invoke_agent travel")


def test_a_long_tree_loses_its_middle_and_says_so():
    calls = [span(n, 1, "execute_tool x", n, n + 1, TOOL, status=2 * (n == 20)) for n in range(2, 50)]
    text = drawn([span(1, 0, "invoke_agent travel", 0, 60, AGENT), *calls], limit=9)
    assert "... 40 more spans, 1 failed\n" in text
    assert text.count("execute_tool") == 8


def test_a_span_of_a_dead_process_is_marked():
    died = span(1, 0, "invoke_agent travel", 0, 2, AGENT, died=True, status=2, status_message="process ended")
    text = drawn([died])
    assert "  died  " in text
    assert "process ended" in text.splitlines()[2]


def test_an_open_span_is_marked():
    lines = drawn([span(1, 0, "invoke_agent travel", 0, None, AGENT, open=True)]).splitlines()
    assert "  open  " in lines[0]
    assert "open" in lines[2]


def test_deep_trees_do_not_end_in_an_error():
    chain = [span(n, n - 1, "step", n, 5000, {}) for n in range(1, 2000)]
    assert drawn(chain, limit=20).count("step") >= 20


def test_a_tool_whose_answer_says_that_it_failed():
    failed = {**TOOL, "nexus.tool.failed": True, "nexus.tool.error.class": "timeout"}
    assert error_of(span(1, 0, "execute_tool x", 0, 1, failed)) == "tool failed: timeout"


def test_the_message_of_an_exception_stands_in_for_a_missing_status():
    raised = StoredEvent("exception", 0, {"exception.type": "ValueError", "exception.message": "bad\nvalue"})
    one = span(1, 0, "chat", 0, 1, {**CHAT, "error.type": "ValueError"}, status=2, events=[raised])
    assert error_of(one) == "ValueError: bad value"


def test_how_a_stream_ended_is_noted():
    assert notes_of(span(1, 0, "chat", 0, 1, {**CHAT, "nexus.stream.outcome": "abandoned"})) == "stream abandoned"


def test_names_cannot_command_the_terminal():
    assert "\x1b" not in drawn([span(1, 0, "chat \x1b[31m\nred", 0, 1, CHAT)])
    assert harmless("a\x1b[0m\tb\r\nc\u202e") == "a\\x1b[0m\tb\nc\\u202e"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (75, "1 m 15 s"),
        (3599.7, "1 h 00 m"),
        (3700, "1 h 02 m"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


# -- the summary at exit -------------------------------------------------------------------------------


def summary(spans, file=None):
    file = file or io.StringIO()
    render_summary(spans, file)
    return file.getvalue()


def test_the_summary_shows_the_run_and_how_to_see_more():
    text = summary(travel())
    assert text.startswith("run 3f9c2b1a  travel  ok  41.2 s\n")
    assert "✗ TimeoutError: no answer within 17 s" in text
    assert "nexus-otel show 3f9c2b1a" in text


def test_the_summary_shows_the_last_three_runs_oldest_first():
    spans = [span(1, 0, "chat", n, n + 1, CHAT, trace_id=f"{n:08x}" + "0" * 24) for n in range(5)]
    text = summary(spans)
    assert "the last 3 of 5 runs" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("run ")] == [
        "00000002",
        "00000003",
        "00000004",
    ]


def test_nothing_recorded_is_nothing_said():
    assert summary([]) == ""


def test_errors_are_red_on_a_terminal_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31m" in summary(travel(), Terminal())
    assert "\x1b[" not in summary(travel())


def test_no_color_is_heeded(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31m" not in summary(travel(), Terminal())


def test_a_file_is_written_wide(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console(io.StringIO()).width == 120
