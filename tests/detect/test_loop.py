"""Loops: what repeats without bringing anything new is found at the third or fourth call; what only looks alike is not."""

from __future__ import annotations

import random

import pytest

from tests.detect.dsl import RaisedError, modes, run, told

BOTH = pytest.mark.parametrize("content", [True, False], ids=["content", "facts"])
WORDS = (
    "refund policy",
    "refund policy please",
    "the refund policy please",
    "our refund policy",
    "refund policy rules",
)


def loops(findings):
    return [finding for finding in findings if finding.mode == "loop"]


# -- found -------------------------------------------------------------------------------------------------------------


@BOTH
def test_the_same_call_with_the_same_answer_three_times(content):
    (found,) = run(content=content).steps(3, "search", {"q": "refund"}, "Refunds: see refunds.").find()
    assert (found.mode, found.level, found.count, len(found.evidence)) == ("loop", "warning", 3, 3)
    assert found.title == "search was called 3 times in a row with the same input and gave the same answer"
    assert found.data["kind"] == "same_call"


def test_it_is_named_at_the_third_call_and_grows():
    one = run()
    (found,) = one.steps(10, "search", {"q": "refund"}, "Refunds: see refunds.").find()
    third = [span for span in one.closed if span.tool][2]
    assert (found.span_id, found.count) == (third.span_id, 10)


def test_what_was_spent_since_the_second_call_is_told():
    (found,) = run().steps(4, "search", {"q": "x"}, "y").find()
    assert found.data["tokens"] == 240
    assert found.data["seconds"] == pytest.approx(2.2)


@BOTH
def test_the_evidence_of_a_loop(content):
    one = run(content=content)
    (found,) = one.steps(4, "search", {"q": "x" * 500}, "y" * 500).find()
    calls = [span.span_id for span in one.closed if span.tool]
    data = found.data
    assert (data["tools"], data["period"], data["form"]) == (["search"], 1, "other")
    assert (data["first"], data["last"], list(found.evidence)) == (calls[0], calls[-1], calls)
    assert (data["model"], data["tokens"], data["output_tokens"]) == ("a-model", 240, 40)
    assert ("arguments" in data, "answer" in data, "differs" in data) == (content, content, False)
    assert all(len(data.get(name, "")) <= 200 for name in ("arguments", "answer"))


@BOTH
def test_the_evidence_of_a_loop_of_errors(content):
    one = run(content=content)
    for n in range(4):
        one.step(
            "charge", {"order": f"#{n}", "currency": "eur", "note": "a" * n}, RaisedError("ValueError", "no order")
        )
    (found,) = loops(one.find())
    assert (found.data["class"], found.data["error_type"]) == ("bad_arguments", "ValueError")
    assert found.data.get("differs") == (["order", "note"] if content else None)
    assert "order" not in found.title


def test_an_argument_that_is_sometimes_left_out_differs():
    one = run()
    for given in ({"a": 1}, {"a": 1, "b": 2}, {"b": 2}, {"b": 2, "c": {"d": [1]}}):
        one.step("charge", given, RaisedError("ValueError", "no order"))
    assert loops(one.find())[0].data["differs"] == ["b", "a", "c"]


@BOTH
def test_the_evidence_of_a_cycle(content):
    one = run(content=content)
    for _ in range(4):
        one.step("search", {"q": "x"}, "y").step("lookup", {"id": 1}, RaisedError("LookupError", "not found"))
    (found,) = loops(one.find())
    assert [call["tool"] for call in found.data["calls"]] == ["search", "lookup"]
    assert [call.get("class") for call in found.data["calls"]] == [None, "not_found"]
    assert [call.get("answer") for call in found.data["calls"]] == (["y", None] if content else [None, None])
    assert (found.data["tokens"], found.data["period"]) == (480, 2)
    assert found.data["seconds"] == pytest.approx(4.4)


def test_key_order_space_and_volatile_values_do_not_hide_it():
    one = run()
    for n, given in enumerate(({"a": 1, "b": "x y"}, {"b": "X  Y", "a": 1}, {"a": 1, "b": "x y", "request_id": "7"})):
        one.step("search", given, {"found": [], "timestamp": n})
    assert modes(one.find()) == ["loop"]


@BOTH
def test_the_same_error_whatever_the_arguments(content):
    one = run(content=content)
    for page in range(3):
        one.step("page_down", {"": page}, RaisedError("LookupError", f"frame {page} is lost"))
    (found,) = loops(one.find())
    assert found.data["kind"] == "same_error"
    assert found.title == "page_down failed 3 times with the same error whatever the arguments: LookupError, other"


@BOTH
def test_a_cycle_of_two(content):
    one = run(content=content)
    for _ in range(3):
        one.step("search", {"q": "refund"}, "see customer 17").step("lookup", {"id": 17}, "see the policy")
    (found,) = one.find()
    assert (found.mode, found.data["period"], found.data["tools"]) == ("loop", 2, ["search", "lookup"])
    assert len(found.evidence) == 6


@pytest.mark.parametrize("period", [3, 5, 16])
def test_longer_cycles(period):
    one = run()
    for _ in range(3):
        for n in range(period):
            one.step(f"tool_{n}", {"n": n}, f"answer {n}")
    (found,) = one.find()
    assert found.data["period"] == period


def test_a_cycle_of_failures_is_one_loop():
    one = run()
    for _ in range(5):
        one.step("search", {"q": "x"}, "Error: broken index").step("lookup", {"id": 1}, "Error: broken table")
    (found,) = loops(one.find())
    assert (found.data["kind"], found.count) == ("cycle", 10)


def test_a_poll_that_never_changes_is_found_by_the_thirtieth_call():
    one = run()
    for _ in range(40):
        one.step("job_status", {"id": 7}, {"status": "running"}).wait(5)
    (found,) = one.find()
    thirtieth = [span for span in one.closed if span.tool][29]
    assert (found.level, found.span_id) == ("warning", thirtieth.span_id)
    assert "was polled 40 times" in found.title


def test_1535_polls():
    one = run(content=False)
    for _ in range(1_535):
        one.step("job_status", {"id": 7}, "Nothing new").wait(4)
    (found,) = one.find()
    assert (found.level, found.count) == ("warning", 1_535)
    assert len(found.evidence) == 50


def test_half_an_hour_of_patient_polling_is_worth_a_note():
    one = run()
    for _ in range(8):
        one.step("job_status", {"id": 7}, {"status": "queued"}).wait(300)
    (found,) = one.find()
    assert (found.level, found.data["polling"]) == ("info", True)


def test_polling_with_a_sleep_between_is_polling():
    one = run()
    for _ in range(29):
        one.step("job_status", {"id": 7}, "still running").step("sleep", {"seconds": 5}, "slept", seconds=5)
    assert one.find() == []


def test_polling_with_a_sleep_between_ends_as_a_loop():
    one = run()
    for _ in range(33):
        one.step("job_status", {"id": 7}, "still running").step("sleep", {"seconds": 5}, "slept", seconds=5)
    (found,) = one.find()
    assert (found.level, found.data["kind"]) == ("warning", "cycle")


def test_a_final_answer_is_no_poll_however_long_the_waits():
    one = run()
    for _ in range(3):
        one.step("job_status", {"id": 7}, {"status": "cancelled"}).wait(60)
    assert told(one.find()) == ["loop"]


def test_a_slow_model_is_no_poller():
    one = run()
    for _ in range(3):
        one.model("", ("search", {"q": "x"}), seconds=30).tool("search", {"q": "x"}, "a page")
    assert told(one.find()) == ["loop"]


def test_a_reworded_question_with_the_same_empty_answer_is_a_note():
    one = run()
    for words in WORDS:
        one.step("search", {"query": words}, "No results found.")
    (found,) = one.find()
    assert (found.mode, found.level, found.data["kind"]) == ("loop", "info", "reworded")


def test_fifty_steps_of_which_most_were_made_before():
    one = run()
    pages = random.Random(5).choices(range(8), k=56)  # noqa: S311 - no cycle, no streak
    for page in pages:
        one.step("read", {"page": page}, f"page {page}")
    found = loops(one.find())
    assert [finding.data["kind"] for finding in found] == ["no_progress"]


def test_agents_that_hand_over_in_a_circle():
    one = run()
    for _ in range(3):
        with one.agent("sales"):
            one.step("transfer_to_billing", {}, "Transferred.")
        with one.agent("billing"):
            one.step("transfer_to_sales", {}, "Transferred.")
    (found,) = one.find()
    assert (found.mode, found.data["kind"], found.data["period"]) == ("loop", "handover", 2)


def test_a_loop_absorbs_the_retries_and_ties_the_errors():
    found = run().steps(5, "charge", {"order": 1}, RaisedError("RuntimeError", "card declined")).find(failed=True)
    assert modes(found) == ["loop", "tool_error"]
    assert len({finding.data["cause"] for finding in found}) == 1


def test_two_sub_agents_in_the_same_loop_are_one_finding():
    one = run()
    for _ in range(2):
        with one.agent("reader"):
            one.steps(4, "search", {"q": "x"}, "y")
    assert modes(one.find()) == ["loop"]


def test_answers_handed_back_in_the_name_of_the_user_are_no_turns():
    one = run(content=True)
    for _ in range(4):
        one.step("search", {"q": "x"}, "y").user("Observation: y")
    assert modes(one.find()) == ["loop"]


def test_a_parallel_pair_over_and_over():
    one = run()
    for _ in range(4):
        one.model("", ("a", {}), ("b", {})).tool("a", {}, "x").tool("b", {}, "y", at_once=True)
    (found,) = one.find()
    assert (found.data["kind"], found.data["period"]) == ("cycle", 2)


def test_without_model_spans_calls_in_a_row_are_a_loop():
    one = run(ours=False)
    for _ in range(3):
        one.tool("search", {"q": "x"}, "y")
    assert modes(one.find()) == ["loop"]


def test_thresholds_are_heeded():
    assert run().steps(4, "search", {"q": "x"}, "y").find(loop_calls=5) == []


# -- look-alikes: silent -----------------------------------------------------------------------------------------------


def test_two_is_not_a_loop():
    assert run().steps(2, "search", {"q": "x"}, "y").find() == []


@BOTH
def test_polling_with_changing_answers(content):
    one = run(content=content)
    for percent in range(0, 100, 5):
        one.step("job_status", {"id": 7}, {"status": "running", "percent": percent})
    assert one.find() == []


@BOTH
def test_polling_a_few_times(content):
    one = run(content=content).steps(8, "job_status", {"id": 7}, {"status": "pending"})
    assert one.step("job_status", {"id": 7}, {"status": "done"}).find() == []


def test_a_long_job_polled_every_five_minutes_warns_nobody():
    one = run()
    for _ in range(12):
        one.step("job_status", {"id": 7}, "Job 7 is building.").wait(300)
    assert told(one.find()) == []


@BOTH
def test_paging(content):
    one = run(content=content)
    for page in range(20):
        one.step("list_orders", {"cursor": page}, {"orders": [page], "next": page + 1})
    assert one.find() == []


def test_reads_without_a_changing_argument_that_bring_new_data():
    one = run()
    for n in range(50):
        one.step("read_next", {}, f"block {n} of the file")
    assert one.find() == []


@BOTH
def test_test_fix_test(content):
    one = run(content=content)
    for n in range(6):
        one.step("run_tests", {}, f"Failed: 3 tests failed in {n}.2 s").step("edit", {"patch": f"fix {n}"}, "ok")
    assert loops(one.find()) == []


def test_a_new_user_turn_ends_the_window():
    one = run()
    for n in range(5):
        one.step("weather", {"city": "Rome"}, "sunny").model("It is sunny.").user(f"And now? ({n})")
    assert one.find() == []


def test_a_batch_over_inputs():
    one = run()
    for n in range(30):
        one.step("move", {"file": f"a{n}.txt"}, "moved")
    assert one.find() == []


def test_many_calls_of_one_answer_of_the_model():
    one = run().model("", *[("fetch", {"url": "u"})] * 5)
    for n in range(5):
        one.tool("fetch", {"url": "u"}, "page", at_once=n > 0)
    assert one.find() == []


def test_one_batch_that_fails_alike_for_every_input():
    one = run().model("", *[("fetch", {"url": n}) for n in range(6)])
    for n in range(6):
        one.tool("fetch", {"url": n}, RaisedError("NotFoundError", f"{n} not found"), at_once=n > 0)
    assert loops(one.find()) == []


def test_a_rate_limit_that_is_waited_for_is_an_outage():
    one = run()
    for _ in range(6):
        one.step("fetch", {"url": "u"}, RaisedError("HTTPError", "429 too many requests")).wait(20)
    assert told(one.find(failed=True)) == ["tool_error"]


def test_notes_are_no_repetition():
    assert run().steps(8, "think", {"thought": "hm"}, "ok").find() == []
    assert run().steps(8, "write_todos", {"todos": []}, "ok").find() == []


def test_a_sweep_that_finds_nothing():
    one = run()
    for day in range(1, 9):
        one.step("search", {"query": f"flights to Rome on 2026-03-{day:02d}"}, "No results found.")
    assert one.find() == []


def test_other_questions_that_find_nothing():
    one = run()
    for words in ("cheap flights", "train stations", "hotel prices", "car rental", "boat trips", "bus lines"):
        one.step("search", {"query": words}, "No results found.")
    assert one.find() == []


def test_fifty_steps_that_bring_something_new():
    one = run()
    for n in range(60):
        one.step("read", {"page": n}, f"page {n}")
    assert one.find() == []


def test_two_agents_that_make_the_same_calls():
    one = run()
    for name in ("a", "b", "c"):
        with one.agent(name):
            one.step("search", {"q": "x"}, "y")
    assert one.find() == []


def test_handing_over_with_work_in_between():
    one = run()
    for n in range(5):
        with one.agent("writer"):
            one.model(f"Draft {n}: a text that changes.").step("transfer_to_critic", {}, "Transferred.")
        with one.agent("critic"):
            one.model(f"Remark {n} on the draft.").step("transfer_to_writer", {}, "Transferred.")
    assert one.find() == []


def test_a_supervisor_that_sends_one_worker_out_again_and_again():
    one = run()
    for n in range(5):
        one.step("transfer_to_reader", {}, "Transferred.")
        with one.agent("reader"):
            one.step("read", {"page": n}, f"page {n}")
    assert one.find() == []


def test_equal_answers_to_other_calls():
    one = run()
    for n in range(5):
        one.step("write", {"row": n}, "ok").step("check", {"row": n}, "fine")
    assert one.find() == []
