"""Failed tools: by status, field or the start of their text; what only looks like an error is none."""

from __future__ import annotations

import json

import pytest

from nexus_otel.normal import register_error_form
from tests.detect.dsl import RaisedError, modes, run, told

BOTH = pytest.mark.parametrize("content", [True, False], ids=["content", "facts"])
OURS = pytest.mark.parametrize("ours", [True, False], ids=["ours", "foreign"])
KNOWN = pytest.mark.parametrize(
    ("ours", "content"), [(True, True), (True, False), (False, True)], ids=["ours", "facts", "foreign"]
)

ERRORS = [
    (RaisedError("TimeoutError", "it took too long"), "status", "timeout"),
    (RaisedError("PermissionError", "access denied"), "status", "auth"),
    ({"error": "rate limit reached"}, "field", "rate_limit"),
    ({"isError": True, "content": "no"}, "field", "other"),
    ({"success": False, "why": "internal"}, "field", "server"),
    ({"status": "failed"}, "field", "other"),
    ({"status": 503, "body": "unavailable"}, "field", "server"),
    ("Error: customer 17 not found", "text", "not_found"),
    ("ValueError: amount must be positive", "text", "bad_arguments"),
    ("Traceback (most recent call last):\n  ...\nKeyError: 'x'", "text", "other"),
    ("HTTP 404 for /orders/7", "text", "not_found"),
    ("exit code 2", "text", "other"),
    ("Fehler: keine Verbindung", "text", "other"),
]
FINE = [
    {"error": None, "orders": [1]},
    {"errors": [], "ok": True},
    {"success": True, "message": "0 errors"},
    {"status": 200},
    {"status": "done", "failures": 0},
    "No errors found in 12 files.",
    "0 errors, 3 warnings",
    "The log says: Error: disk full at 12:00",
    "def handle(error):\n    raise ValueError(error)",
    "12:00:01 INFO start\n12:00:02 ERROR retrying",
    "An error-free run.",
    "",
]


@OURS
@pytest.mark.parametrize(("answer", "how", "kind"), ERRORS, ids=range(len(ERRORS)))
def test_a_failed_tool_is_found(answer, how, kind, ours):
    (found,) = run(ours=ours).step("lookup", {"id": 17}, answer).model("I do not know.").find()
    assert (found.mode, found.level, found.count) == ("tool_error", "warning", 1)
    assert (found.data["how"], found.data["class"]) == (how, kind)


@pytest.mark.parametrize(("answer", "how", "kind"), ERRORS, ids=range(len(ERRORS)))
def test_it_is_found_without_content(answer, how, kind):
    (found,) = run(content=False).step("lookup", {"id": 17}, answer).model("I do not know.").find()
    assert (found.mode, found.data["how"], found.data["class"]) == ("tool_error", how, kind)


@OURS
@pytest.mark.parametrize("answer", FINE, ids=range(len(FINE)))
def test_what_only_looks_like_an_error_is_none(answer, ours):
    assert run(ours=ours).step("read", {"id": 17}, answer).model("Here it is.").find() == []


@BOTH
def test_what_the_agent_got_over_is_a_note(content):
    one = run(content=content).step("charge", {"order": "ORD-1"}, RaisedError("ValueError", "unknown order"))
    (found,) = one.step("charge", {"order": "1"}, "charged").model("Done.").find()
    assert (found.mode, found.level, found.data["recovered"]) == ("tool_error", "info", True)


def test_one_finding_for_a_tool_and_its_kind_of_error():
    one = run()
    for n in range(5):
        one.step("fetch", {"page": n}, RaisedError("NotFoundError", f"page {n} not found")).step("note", {}, f"{n}")
    (found,) = [finding for finding in one.find() if finding.mode == "tool_error"]
    assert (found.count, len(found.evidence), found.level) == (5, 5, "warning")
    assert found.title == "fetch failed 5 times: NotFoundError, not_found"


def test_other_tools_and_kinds_are_other_findings():
    one = (
        run()
        .step("a", {}, "Error: not found")
        .step("b", {}, "Error: not found")
        .step("a", {"n": 2}, "Error: timed out")
    )
    assert modes(one.find()) == ["tool_error"] * 3


@pytest.mark.parametrize(("failed", "silent"), [(True, False), (False, True)])
def test_whether_the_run_says_so(failed, silent):
    (found,) = run().step("lookup", {}, "Error: gone").model("Fine.").find(failed=failed)
    assert found.data["silent"] is silent


def test_the_title_holds_no_value():
    value = "hunter2"
    one = run().step("login", {"password": value}, f"Error: wrong password {value}")
    (found,) = one.find()
    assert value not in found.title


def test_the_matched_piece_of_text_is_told_where_content_is():
    (found,) = run().step("lookup", {}, "Error: gone").find()
    assert found.data["matched"] == "Error:"
    (found,) = run(content=False).step("lookup", {}, "Error: gone").find()
    assert "matched" not in found.data


def test_a_form_of_ones_own():
    register_error_form("pay_in_kind", lambda answer: "KO" in str(answer))
    assert told(run(ours=False).step("pay_in_kind", {}, "code=KO").find()) == ["tool_error"]


def test_one_call_recorded_by_two_libraries_is_one():
    one = run().model("", ("fetch", {"u": 1}))
    one.tool("fetch", {"u": 1}, "Error: gone")
    inner = one.closed[-1]
    one.now = inner.start_ns
    one.tool("fetch", {"u": 1}, "Error: gone")
    inner.parent_id = one.closed[-1].span_id
    (found,) = one.find()
    assert found.count == 1


# -- retries -----------------------------------------------------------------------------------------------------------


@KNOWN
def test_the_input_that_failed_again(ours, content):
    one = run(ours=ours, content=content).steps(2, "charge", {"order": 1}, RaisedError("RuntimeError", "declined"))
    found = one.model("No.").find()
    assert modes(found) == ["retry", "tool_error"]
    (retry,) = [finding for finding in found if finding.mode == "retry"]
    assert (retry.level, retry.count, len(retry.evidence)) == ("warning", 1, 2)
    assert retry.title == "charge was called again once with the input that failed: other"


def test_failures_and_notes_of_other_tools_do_not_make_it_right():
    error = RaisedError("RuntimeError", "declined")
    one = run().step("charge", {"order": 1}, error).step("think", {"t": "hm"}, "ok")
    one.step("refund", {"order": 1}, error).step("charge", {"order": 1}, error)
    assert "retry" in modes(one.find())


def test_a_wait_for_an_error_that_passes_makes_it_a_note():
    error = RaisedError("HTTPError", "503 service unavailable")
    one = run().step("fetch", {"u": 1}, error).wait(5).step("fetch", {"u": 1}, error)
    assert modes(one.find(), "info") == ["retry"]


def test_other_input_is_no_retry():
    error = RaisedError("RuntimeError", "declined")
    assert "retry" not in modes(run().step("charge", {"n": 1}, error).step("charge", {"n": 2}, error).find())


def test_work_in_between_makes_it_right():
    one = run()
    for n in range(2):
        one.step("run_tests", {}, RaisedError("AssertionError", "no")).step("edit", {"fix": n}, "ok")
    assert "retry" not in modes(one.find())


def test_a_retry_that_succeeds_is_none():
    one = run().step("fetch", {"u": 1}, RaisedError("TimeoutError", "slow")).step("fetch", {"u": 1}, "page")
    assert "retry" not in modes(one.find())


def test_a_new_turn_is_no_retry():
    error = RaisedError("RuntimeError", "declined")
    one = run().step("charge", {"n": 1}, error).model("It failed.").user("Again!").step("charge", {"n": 1}, error)
    assert "retry" not in modes(one.find())


def test_calls_made_at_once_are_no_retry():
    error = RaisedError("RuntimeError", "declined")
    one = run().model("", ("charge", {"n": 1}), ("charge", {"n": 1}))
    one.tool("charge", {"n": 1}, error).tool("charge", {"n": 1}, error, at_once=True)
    assert "retry" not in modes(one.find())


def test_findings_are_json():
    one = run().steps(4, "charge", {"order": 1}, RaisedError("RuntimeError", "declined"))
    assert [json.loads(json.dumps(finding.as_json())) for finding in one.find()]
