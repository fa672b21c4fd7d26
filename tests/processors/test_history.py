"""How long steps usually take, kept in a file between processes; what the settings give the detectors."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from dataclasses import fields
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider

from nexus_otel import _guard, config
from nexus_otel.config import SettingError, Settings, from_env
from nexus_otel.detect.baselines import Baselines
from nexus_otel.detect.thresholds import Thresholds, changed
from nexus_otel.genai.ending import looks
from nexus_otel.processors import detecting
from nexus_otel.processors.history import History
from nexus_otel.processors.live import Live
from tests.kit.fixtures import Kept

S = 1_000_000_000
START = 1_700_000_000 * S


@pytest.fixture
def home(tmp_path):
    before = config.current()
    config.use(Settings(home=tmp_path / "home"))
    yield tmp_path / "home"
    config.use(before)


def times(count, seconds=1.0, tool="search"):
    known = Baselines()
    for _ in range(count):
        known.add("execute_tool", tool, seconds, None)
    return known.take_new()


# -- the file ----------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_this_user_s(home):
    detecting.store(times(10))
    path = home / detecting.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [one.name for one in home.iterdir()] == [detecting.FILE]
    assert Baselines(detecting.stored()).usual("execute_tool", "search", None).seconds == pytest.approx(1.0)


def test_processes_add_to_what_is_there(home):
    detecting.store(times(5))
    detecting.store(times(6, 2.0))
    kept = detecting.stored()["seconds"]["execute_tool search"]
    assert kept == [[1.0, 0]] * 5 + [[2.0, 0]] * 6
    detecting.store(times(64, 3.0))
    assert detecting.stored()["seconds"]["execute_tool search"] == [[3.0, 0]] * 64


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"[1]", b'{"seconds": 3}', b'{"seconds": {"a": [[1]]}}', b"[" * 100_000]
)
def test_a_broken_file_is_as_none_and_written_anew(text, home):
    home.mkdir()
    (home / detecting.FILE).write_bytes(text)
    assert Baselines(detecting.stored()).usual("a", "b", None) is None
    detecting.store(times(9))
    assert len(detecting.stored()["seconds"]["execute_tool search"]) == 9


def test_many_processes_at_once_leave_a_whole_file(home):
    def write(number):
        for _ in range(5):
            detecting.store(times(3, tool=f"tool_{number}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(f"execute_tool tool_{number}" in detecting.stored()["seconds"] for number in range(4))
    assert [one.name for one in home.iterdir()] == [detecting.FILE]


def test_a_process_writes_at_its_end_what_is_new(home):
    history = History(threading.RLock())
    history.close()
    assert not home.exists()
    for _ in range(9):
        history.baselines.add("execute_tool", "search", 1.0, None)
    history.run_ended()  # within a minute nothing is written
    assert not home.exists()
    history.close()
    history.close()
    assert len(detecting.stored()["seconds"]["execute_tool search"]) == 9


def test_a_home_that_cannot_be_is_no_matter(home):
    home.write_text("a file")
    history = History(threading.RLock())
    history.baselines.add("execute_tool", "search", 1.0, None)
    history.close()
    assert home.read_text() == "a file"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_leaves_the_parent_s_to_the_parent(home):
    history = History(threading.RLock())
    history.baselines.add("execute_tool", "search", 1.0, None)
    child = os.fork()
    if child == 0:
        history.baselines.add("execute_tool", "of_the_child", 1.0, None)
        history.run_ended()
        history.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert list(detecting.stored()["seconds"]) == ["execute_tool", "execute_tool of_the_child"]
    history.close()
    assert set(detecting.stored()["seconds"]) == {"execute_tool", "execute_tool of_the_child", "execute_tool search"}


# -- live --------------------------------------------------------------------------------------------------------------


class Following:
    """A `Live` of its own, fed with spans of a provider."""

    def __init__(self):
        self.live = Live()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self)

    def on_start(self, span, parent_context=None):
        self.live.begins(span)

    _on_ending = on_start

    def on_end(self, span):
        self.live.ended(span)

    def shutdown(self):
        self.live.close()
        looks.remove(self.live.look)


def run_of(following, seconds):
    """A run of somebody with one tool; returns the modes on its root."""
    tracer = following.provider.get_tracer("somebody")
    root = tracer.start_span("run", start_time=START, attributes={"gen_ai.operation.name": "invoke_agent"})
    from opentelemetry.trace import set_span_in_context

    about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    tool = tracer.start_span("execute_tool search", set_span_in_context(root), start_time=START, attributes=about)
    tool.end(START + round(seconds * S))
    root.end(START + round(seconds * S))
    return root.attributes.get("nexus.findings")


def test_what_is_usual_is_known_to_the_next_process(home):
    first = Following()
    for _ in range(12):
        assert run_of(first, 1.0) is None
    first.shutdown()

    second = Following()
    assert run_of(second, 1.0) is None
    second.live._history.close()  # its thread has read the file by then
    assert run_of(second, 14.0) == ("latency_spike",)
    second.shutdown()


def test_the_settings_count_when_the_first_run_begins(home):
    following = Following()
    config.use(Settings(home=home, slow_ok=("Search",)))
    assert run_of(following, 400.0) is None
    following.shutdown()


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_of_the_detectors():
    chosen, problems = from_env(
        {
            "NEXUS_CONTEXT_LIMITS": "our-model=32000, big = 1000000",
            "NEXUS_NOTE_TOOLS": "scratchPad, memo",
            "NEXUS_SLOW_OK": "run_build,our-model",
        }
    )
    assert not problems
    limits, thresholds = detecting.limits(chosen), detecting.thresholds(chosen)
    assert (limits.of("azure/our-model-2024-08-06"), limits.of("big"), limits.of("other")) == (32_000, 1_000_000, None)
    assert [thresholds.is_note(tool) for tool in ("scratch_pad", "Memo", "think", "search")] == [
        True,
        True,
        True,
        False,
    ]
    assert [thresholds.may_be_slow(name) for name in ("runBuild", "our-model", "search")] == [True, True, False]


@pytest.mark.parametrize("text", ["our-model", "our-model=", "=5", "our-model=many", "our-model=-1", "our-model=0"])
def test_limits_that_are_none(text):
    chosen, problems = from_env({"NEXUS_CONTEXT_LIMITS": text})
    assert chosen.context_limits == ()
    assert problems == [f"NEXUS_CONTEXT_LIMITS={text!r}: expected a comma list of model=tokens"]
    with pytest.raises(SettingError):
        Settings().with_options(context_limits=text)


def test_every_threshold_is_a_setting():
    default = Thresholds()
    numbers = {
        one.name: getattr(default, one.name)
        for one in fields(default)
        if not isinstance(getattr(default, one.name), frozenset)
    }
    text = ",".join(
        f"{name}={'/'.join(map(str, value)) if isinstance(value, tuple) else value + 1}"
        for name, value in numbers.items()
    )
    chosen, problems = from_env({"NEXUS_THRESHOLDS": text})
    assert problems == []
    found = detecting.thresholds(chosen)
    assert {name: getattr(found, name) for name in numbers} == {
        name: value if isinstance(value, tuple) else value + 1 for name, value in numbers.items()
    }
    assert all(type(getattr(found, name)) is type(value) for name, value in numbers.items())


def test_several_levels_of_the_context_and_one():
    for text, levels in (("0.9/0.5", (0.5, 0.9)), ("0.7", (0.7,))):
        assert (
            detecting.thresholds(from_env({"NEXUS_THRESHOLDS": f"context_levels={text}"})[0]).context_levels == levels
        )


@pytest.mark.parametrize(
    "text", ["loop_calls", "loop_calls=", "=3", "loop_calls=many", "poll_s=-1", "poll_s=inf", "poll_s=nan"]
)
def test_thresholds_that_are_no_numbers(text):
    chosen, problems = from_env({"NEXUS_THRESHOLDS": text})
    assert chosen.thresholds == ()
    assert problems == [
        f"NEXUS_THRESHOLDS={text!r}: expected a comma list of name=number, as docs/findings.md has the names"
    ]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"loops": 3}, "no threshold 'loops'"),
        ({"is_note": 3}, "no threshold 'is_note'"),
        ({"slow_ok": 3}, "no threshold 'slow_ok'"),
        ({"loop_calls": 1}, "threshold loop_calls=1: expected a whole number of at least 2"),
        ({"step_limit": 2.5}, "threshold step_limit=2.5: expected a whole number of at least 1"),
        ({"poll_s": (1.0, 2.0)}, "threshold poll_s=(1.0, 2.0): expected a number"),
    ],
)
def test_a_threshold_that_cannot_be_is_said_and_the_usual_one_holds(given, line):
    assert changed(given) == (Thresholds(), [line])
    _guard.failures.clear()
    with Kept("nexus_otel") as kept:
        assert detecting.thresholds(Settings(thresholds=tuple(given.items()))) == Thresholds()
    assert kept.lines == [f"nexus_otel nexus-otel: {line} (docs/findings.md)"]


def test_litellm_s_list_is_asked_where_it_is_loaded(monkeypatch):
    limits = detecting.limits(Settings())
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    assert limits.of("of-their-list") is None
    cost = {"their-own": {"max_input_tokens": 9_000}, "no-limit": {}, "wrong": {"max_input_tokens": "many"}}
    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(model_cost=cost))
    assert [limits.of(name) for name in ("their-own", "no-limit", "wrong", "gpt-4o")] == [9_000, None, None, 128_000]


def test_the_file_is_json_that_says_its_form(home):
    detecting.store(times(1))
    assert json.loads((home / detecting.FILE).read_text())["schema"] == 1
