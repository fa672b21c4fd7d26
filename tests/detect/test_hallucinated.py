"""Made-up actions: unknown tools and arguments that a tool does not take; lenient tools and partial lists are silent."""

from __future__ import annotations

import json

import pytest

from nexus_otel import semconv
from nexus_otel.detect.invented import nearest
from tests.detect.dsl import RaisedError, modes, run, takes, told

BOTH = pytest.mark.parametrize("content", [True, False], ids=["content", "facts"])
OURS = pytest.mark.parametrize("ours", [True, False], ids=["ours", "foreign"])
KNOWN = pytest.mark.parametrize(
    ("ours", "content"), [(True, True), (True, False), (False, True)], ids=["ours", "facts", "foreign"]
)
TOOLS = {
    "get_weather": takes(["city"], city="string", days="integer"),
    "book_flight": takes(["to"], to="string"),
    "page_down": takes(),
}
UNEXPECTED = RaisedError("TypeError", "get_weather() got an unexpected keyword argument 'town'")


def invented(findings):
    return [finding for finding in findings if finding.mode == "hallucinated_action"]


# -- unknown tools -----------------------------------------------------------------------------------------------------


@BOTH
def test_an_unknown_tool(content):
    one = run(tools=TOOLS, content=content).model("", ("send_mail", {"to": "ada"}))
    one.tool("send_mail", {"to": "ada"}, "Error: no such tool", **{semconv.ERROR_TYPE: "unknown_tool"})
    (found,) = one.model("I cannot.").find()
    assert (found.mode, found.level, found.data["kind"]) == ("hallucinated_action", "warning", "unknown_tool")
    assert found.span_id == next(span.span_id for span in one.closed if span.tool)


def test_the_nearest_tool_is_proposed():
    one = run(tools=TOOLS).model("", ("bookFlight", {"to": "Rome"}))
    (found,) = one.tool("bookFlight", {"to": "Rome"}, "Error: unknown tool").find()
    assert found.advice == "the nearest tool is book_flight"


@OURS
def test_an_unknown_tool_that_nothing_executed_is_found_on_the_model_span(ours):
    one = run(tools=TOOLS, ours=ours).model("", ("send_mail", {"to": "ada"})).model("I cannot.")
    (found,) = one.find()
    assert (found.data["kind"], found.data["executed"]) == ("unknown_tool", False)
    assert found.span_id == one.closed[0].span_id


def test_an_unknown_tool_that_made_the_run_fail():
    assert told(run(tools=TOOLS).model("", ("send_mail", {"to": "ada"})).find(failed=True)) == ["hallucinated_action"]


def test_the_same_unknown_tool_again_is_one_finding():
    one = run(tools=TOOLS)
    for n in range(3):
        one.model("", ("send_mail", {"to": n})).tool("send_mail", {"to": n}, "Error: unknown tool")
    (found,) = invented(one.find())
    assert (found.count, len(found.evidence)) == (3, 3)


@pytest.mark.parametrize(
    "said",
    [
        "Error: send_mail is not a valid tool, try one of [get_weather].",
        "Unknown tool: send_mail",
        "Tool send_mail not found",
        "Error: No tool named send_mail",
    ],
)
def test_a_refusal_is_enough_where_no_list_is_known(said):
    (found,) = run(ours=False).step("send_mail", {"to": "ada"}, said, **{semconv.ERROR_TYPE: "tool_error"}).find()
    assert (found.mode, found.data["kind"], found.data["by"]) == ("hallucinated_action", "unknown_tool", "refused")


def test_a_partial_list_says_nothing():
    one = run(tools=TOOLS, ours=False)
    one.model("", ("search_web", {"q": "x"})).tool("search_web", {"q": "x"}, "a page")
    tools = [{"type": "tool_search"}, {"type": "function", "name": "get_weather"}]
    one.closed[0].attributes[semconv.TOOL_DEFINITIONS] = json.dumps(tools)
    assert one.model("Done.").find() == []


def test_a_tool_that_answers_is_known_whatever_the_list():
    assert run(tools=TOOLS, ours=False).step("search_web", {"q": "x"}, "a page").model("Done.").find() == []


def test_without_a_list_no_tool_is_unknown():
    assert run().step("anything", {"q": "x"}, "a page").model("Done.").find() == []


def test_the_last_answer_may_wait_for_a_person():
    assert run(tools=TOOLS).model("", ("final_result", {"answer": 7})).find() == []


# -- arguments ---------------------------------------------------------------------------------------------------------


@KNOWN
def test_arguments_against_the_schema(ours, content):
    given = {"town": "Paris"}
    one = run(tools=TOOLS, ours=ours, content=content).step("get_weather", given, UNEXPECTED)
    (found,) = one.step("get_weather", {"city": "Paris"}, "sunny").model("Sunny.").find()
    assert (found.mode, found.level, found.data["kind"]) == ("hallucinated_action", "warning", "invalid_arguments")
    assert "required:city" in found.title
    assert found.data["error"] == "bad_arguments"


def test_an_error_of_made_up_arguments_is_one_finding():
    one = run(tools=TOOLS).step("get_weather", {"town": "Paris"}, UNEXPECTED).model("No.")
    assert modes(one.find()) == ["hallucinated_action"]


def test_a_tool_without_arguments():
    error = RaisedError("TypeError", "page_down() got an unexpected keyword argument ''")
    (found,) = run(tools=TOOLS).step("page_down", {"": ""}, error).find()
    assert found.advice == "it takes no arguments: send {}"


def test_made_up_arguments_in_a_loop_are_tied_to_it():
    one = run(tools=TOOLS).steps(4, "get_weather", {"town": "Paris"}, UNEXPECTED)
    found = one.find()
    assert modes(found) == ["hallucinated_action", "loop"]
    assert len({finding.data["cause"] for finding in found}) == 1


def test_arguments_that_nothing_executed():
    one = run(tools=TOOLS, ours=False).model("", ("get_weather", {"town": "Paris"})).model("Sorry.")
    (found,) = one.find()
    assert (found.data["kind"], found.data["executed"], found.data["rules"]) == (
        "invalid_arguments",
        False,
        ["required:city"],
    )


def test_missing_arguments_that_the_tool_took_all_the_same_are_a_note():
    one = run(tools=TOOLS).step("get_weather", {"days": 3}, "sunny everywhere")
    assert modes(one.find(), "info") == ["hallucinated_action"]


def test_a_refusal_is_enough_where_no_schema_is_known():
    (found,) = run(ours=False).step("get_weather", {"town": "Paris"}, UNEXPECTED).find()
    assert (found.data["kind"], found.data["by"]) == ("invalid_arguments", "refused")


def test_arguments_cut_by_the_output_limit():
    one = run(tools=TOOLS, ours=False).model("", ("get_weather", '{"city": "Par'), finish="length")
    (found,) = one.tool("get_weather", '{"city": "Par', RaisedError("ValueError", "not JSON")).find()
    assert (found.data["kind"], found.title) == (
        "cut_arguments",
        "get_weather got arguments cut by the output limit (type:), once",
    )


def test_arguments_that_are_not_json():
    one = run(ours=False).step("get_weather", '{"city": Paris}', RaisedError("ValueError", "not JSON"))
    (found,) = one.find()
    assert found.data["kind"] == "malformed_arguments"


@pytest.mark.parametrize(
    "given", [{"city": "Rome", "days": "3"}, {"city": "Rome", "days": 3.0}, {"city": "Rome", "days": None}]
)
@OURS
def test_what_validators_coerce_is_fine(given, ours):
    assert run(tools=TOOLS, ours=ours).step("get_weather", given, "sunny").model("Sunny.").find() == []


def test_what_validators_coerce_is_fine_where_nothing_executed_it():
    one = run(tools=TOOLS).model("", ("get_weather", {"city": "Rome", "days": "3"})).model("Sunny.")
    assert one.find() == []


def test_a_key_that_the_schema_leaves_open_and_the_tool_takes():
    assert run(tools=TOOLS).step("get_weather", {"city": "Rome", "unit": "C"}, "sunny").find() == []


def test_right_arguments_and_a_bug_of_the_tool():
    error = RaisedError("TypeError", "inner() missing 1 required positional argument: 'x'")
    one = run(tools=TOOLS, ours=False).step("get_weather", {"city": "Rome"}, error)
    assert modes(one.find()) == ["tool_error"]


def test_an_outage_is_not_the_argument_s_fault():
    one = run(tools=TOOLS).step(
        "get_weather", {"city": "Rome", "days": "3"}, RaisedError("HTTPError", "503 unavailable")
    )
    assert modes(one.find()) == ["tool_error"]


def test_what_a_program_printed_is_no_refusal():
    printed = "Traceback (most recent call last):\nTypeError: f() got an unexpected keyword argument 'x'"
    assert modes(run().step("shell", {"cmd": "python x.py"}, printed).find()) == ["tool_error"]


def test_a_plain_text_argument_is_no_broken_json():
    assert run(ours=False).step("ask", "what is the weather?", "sunny").find() == []


def test_arguments_cut_off_that_nothing_executed():
    one = run(tools=TOOLS).model("", ("get_weather", '{"city": "Par'), finish="length").model("Again.")
    (found,) = one.find()
    assert (found.data["kind"], found.data["executed"]) == ("cut_arguments", False)


def test_one_of_two_calls_that_nothing_executed():
    calls = ("get_weather", {"city": "Rome"}), ("send_mail", {"to": "ada"})
    one = run(tools=TOOLS).model("", *calls).tool("get_weather", {"city": "Rome"}, "sunny").model("Done.")
    (found,) = one.find()
    assert (found.data["tool"], found.data["executed"]) == ("send_mail", False)


def test_a_wrong_type_deep_in_arguments_that_nothing_executed():
    legs = {"type": "object", "properties": {"legs": {"type": "array", "items": takes(["to"], to="string")}}}
    one = run(tools={"plan_trip": legs}).model("", ("plan_trip", {"legs": [{"to": "Rome"}, {"to": ["Oslo"]}]}))
    (found,) = one.model("Done.").find()
    assert found.data["rules"] == ["type:legs.1.to"]


def test_a_type_that_only_tools_for_parsing_raise():
    error = RaisedError("ToolInvocationError", "try again")
    (found,) = run(ours=False, content=True).step("get_weather", {"town": "Paris"}, error).find()
    assert (found.mode, found.data["by"]) == ("hallucinated_action", "refused")


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("bookFlight", ["book_flight", "cook"], "book_flight"),
        ("book-flight", ["book_flight"], "book_flight"),
        ("serch_docs", ["search_docs", "search_dogs"], "search_docs"),
        ("cat", ["dog"], None),
        ("send_mail", ["get_weather"], None),
        ("x", [], None),
    ],
)
def test_the_nearest_name(name, known, meant):
    assert nearest(name, known, 3) == meant
