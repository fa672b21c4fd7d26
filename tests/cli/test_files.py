"""`traces`, `show`, `compare` and `diagnose` of files: what the collector's file exporter wrote, and segments."""

from __future__ import annotations

import io
import json
import sys
import time
import tracemalloc
import uuid

import pytest

from nexus_otel import config
from nexus_otel.cli.sources import opened
from tests.cli.test_commands import full, home, nexus  # noqa: F401 - fixtures
from tests.cli.test_diagnose import ran


def requests(nexus):  # noqa: F811
    return [json.loads(line) for line in nexus("export")[1].splitlines()]


def as_collector(requests):
    """One line for several requests, those of the last run first, as a batch of the collector has them."""
    entries = [entry for request in requests for entry in request["resourceSpans"]]
    return json.dumps({"resourceSpans": entries[::-1]}) + "\n"


@pytest.fixture
def file(full, nexus, tmp_path):  # noqa: F811
    path = tmp_path / "traces.jsonl"
    path.write_text(as_collector(requests(nexus)))
    return path


def test_traces_of_a_file_are_those_of_the_store(file, nexus):  # noqa: F811
    for more in ((), ("--status", "error"), ("--agent", "travel"), ("--tool", "book"), ("--json",)):
        here, there = nexus("traces", *more), nexus("traces", str(file), *more)
        assert there == here
        assert nexus("traces", "--store", str(file), *more) == here


def test_show_reads_a_file(file, nexus):  # noqa: F811
    for more in (("3f9c",), ("--content", "3f9c"), ("--span", "00000003", "3f9c"), ("--span", "00000003")):
        assert nexus("show", "--store", str(file), *more) == nexus("show", *more)


def test_a_folder_is_a_store_too(full, file, nexus, monkeypatch, tmp_path):  # noqa: F811
    here = nexus("traces")
    monkeypatch.setenv("NEXUS_HOME", str(tmp_path / "elsewhere"))
    config.use(None)
    assert nexus("traces", "--store", str(full)) == here


def test_diagnose_of_a_file_finds_what_the_store_has(home, nexus, tmp_path):  # noqa: F811
    ran(home)
    _code, of_store, _err = nexus("diagnose", "--json")
    path = tmp_path / "one.jsonl"
    path.write_text(as_collector(requests(nexus)))
    assert of_store
    assert nexus("diagnose", str(path), "--json") == (0, of_store, "")
    assert nexus("diagnose", str(path)) == nexus("diagnose")
    assert nexus("diagnose", str(path), "--fail-on", "loop")[0] == 3


def test_two_files_are_compared_as_runs_or_as_sets(home, nexus, tmp_path, monkeypatch):  # noqa: F811
    paths = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for number, path in enumerate(paths):
        one = tmp_path / f"home{number}"
        ran(one, calls=3 + number)
        monkeypatch.setenv("NEXUS_HOME", str(one))
        config.use(None)
        path.write_text(as_collector(requests(nexus)))
    code, out, _err = nexus("compare", *map(str, paths), "--json")
    assert code == 0
    assert [one["steps"] for one in json.loads(out)["runs"]] == [3, 4]
    ran(tmp_path / "home1")
    paths[1].write_text(as_collector(requests(nexus)))
    code, out, _err = nexus("compare", *map(str, paths), "--json")
    assert sorted(one["runs"] for one in json.loads(out)["sets"]) == [1, 2]
    assert nexus("compare", "--by", "version", "--store", str(paths[1]))[0] == 0


def test_a_span_that_came_twice_counts_once(file, nexus):  # noqa: F811
    here = nexus("traces", str(file))
    file.write_text(file.read_text() * 2)
    assert nexus("traces", str(file)) == here


def test_a_file_and_another_store_are_too_much(file, nexus):  # noqa: F811
    assert nexus("traces", str(file), "--store", str(file))[0] == 2


@pytest.mark.parametrize("command", ["traces", "diagnose", "show"])
def test_a_file_that_holds_nothing_is_said_to(tmp_path, home, nexus, command):  # noqa: F811
    path = tmp_path / "other.json"
    path.write_text('{"logs": 1}\n')
    code, out, err = nexus(command, "--store", str(path))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert nexus(command, "--store", str(tmp_path / "missing"))[0] == 2


# -- many runs ---------------------------------------------------------------------------------------------------------


def many(path, template, runs):
    """A file with `runs` copies of a run, ten in a line."""
    text = json.dumps(template)
    trace_id = template["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
    with path.open("w") as file:
        for _line in range(runs // 10):
            copies = [json.loads(text.replace(trace_id, uuid.uuid4().hex)) for _ in range(10)]
            file.write(as_collector(copies))


def test_memory_is_bounded_by_the_largest_run(home, nexus, tmp_path, monkeypatch):  # noqa: F811
    ran(home, answer='"word " * 2000')
    (template,) = requests(nexus)
    peaks = []
    for runs in (20, 100):
        path = tmp_path / f"{runs}.jsonl"
        many(path, template, runs)
        tracemalloc.start()
        nexus("diagnose", str(path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 5_000_000  # of which 4 MB are in the runs that are more
    assert peaks[1] < peaks[0] + 1_000_000


def test_stdin_is_read_as_a_file(file, nexus, monkeypatch):  # noqa: F811
    expected = nexus("diagnose", str(file))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert nexus("diagnose", "-") == expected


def test_two_thousand_runs_are_diagnosed_in_time(home, nexus, tmp_path):  # noqa: F811
    ran(home, calls=7)
    (template,) = requests(nexus)
    path = tmp_path / "many.jsonl"
    many(path, template, 2_000)
    began = time.process_time()
    code, out, _err = nexus("diagnose", str(path))
    taken = time.process_time() - began
    assert code == 0
    assert out.startswith("2,000 runs, 2,000 runs with findings")
    assert len(opened(str(path)).trace_ids) == 2_000
    assert taken < 40  # 20 s are promised; the machine may be busy
