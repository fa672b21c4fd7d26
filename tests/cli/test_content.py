import io
import json

import pytest

from nexus_otel.cli.content import NOT_RECORDED, News, Writer, described, print_content
from nexus_otel.cli.runs import runs_of
from nexus_otel.cli.terminal import console
from tests.cli.samples import AGENT, ANSWERS, ASKS, CHAT, PLAN, USER, answer, call, conversation, message, span, text


def news_of(*calls):
    news = News()
    return [news.of(span(n, 0, "chat", n, n + 1, {**CHAT, **conversation(*one)})) for n, one in enumerate(calls, 1)]


def printed(spans):
    file = io.StringIO()
    (run,) = runs_of(spans)
    print_content(run, console(file), "nexus-otel show abcd")
    return file.getvalue()


AGAIN = message("user", text("Shorter, please"))


def test_the_history_is_not_new():
    assert news_of(([USER], [ASKS]), ([USER, ASKS, ANSWERS], [PLAN])) == [[USER], [ANSWERS]]


def test_an_answer_that_comes_back_changed_is_not_new():
    shorter = message("assistant", *ASKS["parts"][1:])
    assert news_of(([USER], [ASKS]), ([USER, shorter, ANSWERS], [PLAN]))[1] == [ANSWERS]


def test_an_assistants_message_that_nobody_answered_is_new():
    prefill = message("assistant", text("{"))
    assert news_of(([USER], []), ([USER, prefill], [PLAN]))[1] == [prefill]


def test_a_history_that_was_cut_is_new_from_the_cut_on():
    assert news_of(([USER, ASKS, ANSWERS], [PLAN]), ([USER, AGAIN], [PLAN]))[1] == [AGAIN]


def test_two_agents_by_turns_are_told_apart():
    other = message("user", text("Something else"))
    first, second = ([USER], [ASKS]), ([other], [PLAN])
    third, fourth = ([USER, ASKS, ANSWERS], [PLAN]), ([other, PLAN, AGAIN], [PLAN])
    assert news_of(first, second, third, fourth) == [[USER], [other], [ANSWERS], [AGAIN]]


def test_structured_attributes_are_messages_too():
    attributes = {**CHAT, "gen_ai.input.messages": [USER], "gen_ai.output.messages": [PLAN]}
    said = printed([span(1, 0, "chat", 0, 1, attributes)])
    assert "  user  Plan two days in Paris\n  assistant  Here is the plan.\n" in said


def test_text_that_is_no_json_is_shown_as_it_is():
    said = printed([span(1, 0, "chat", 0, 1, {**CHAT, "gen_ai.input.messages": "plain words"})])
    assert "  message  plain words\n" in said


@pytest.mark.parametrize("value", ["", "[]", "{}", "null", "3", '["a", 1, null]', '[{"role": null}]', '[{"parts": 3}]'])
def test_odd_messages_are_no_error(value):
    printed([span(1, 0, "chat", 0, 1, {**CHAT, "gen_ai.input.messages": value, "gen_ai.tool.definitions": value})])


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (text("hello"), ("user", "hello", "")),
        ({"type": "reasoning", "content": "hm"}, ("user thinks", "hm", "dim")),
        (call("t1", "search", q="x"), ("user calls", 'search {"q": "x"}', "green")),
        (call("t2", "search", q="x"), ("user calls", "search", "green")),
        (answer("t1", {"a": 1}), ("tool answers", '{"a": 1}', "")),
        (answer("t2", {"a": 1}), ("tool answers", "(above)", "")),
        ({"type": "blob", "modality": "image", "byte_size": 9}, ("user", "[image blob, 9 bytes]", "dim")),
        ({"type": "uri", "modality": "image", "uri": "file:x"}, ("user", "[image uri] file:x", "dim")),
        ({"type": "new", "a": 1}, ("user", '{"type": "new", "a": 1}', "")),
    ],
)
def test_parts(part, shown):
    assert described(part, "user", {"t2": "(above)"}) == shown


def test_a_long_line_is_cut_with_a_hint():
    said = printed([span(1, 0, "chat", 0, 1, {**CHAT, **conversation([message("user", text("x" * 5000))], [])})])
    assert f"    {'x' * 1200}\n    ... 3,800 more characters (nexus-otel show abcd --span 00000001)\n" in said


def test_nothing_is_cut_when_all_is_wanted():
    file = io.StringIO()
    Writer(console(file)).text("result", "\n".join(map(str, range(500))))
    assert file.getvalue().endswith("    499\n")


def test_texts_cannot_command_the_terminal():
    assert "\x1b" not in printed(
        [span(1, 0, "chat", 0, 1, {**CHAT, **conversation([message("user", text("\x1b[2J"))], [])})]
    )


def test_markup_in_texts_is_text():
    said = printed(
        [span(1, 0, "chat", 0, 1, {**CHAT, **conversation([message("user", text("[bold]:smile:[/]"))], [])})]
    )
    assert "[bold]:smile:[/]" in said


def test_content_on_the_agent_alone_is_shown():
    said = printed([span(1, 0, "invoke_agent", 0, 1, {**AGENT, "gen_ai.input.messages": json.dumps([USER])})])
    assert "  user  Plan two days in Paris\n" in said


def test_without_content_it_says_how_to_get_it():
    assert printed([span(1, 0, "chat", 0, 1, CHAT)]) == NOT_RECORDED + "\n"


def test_a_run_whose_model_calls_say_nothing_is_shown_by_what_it_was_given_and_answered():
    root = {**AGENT, **conversation([USER], [PLAN])}
    step = {"nexus.output": '{"left": 3}'}
    said = printed(
        [span(1, 0, "invoke_agent a", 0, 9, root), span(2, 1, "chat m", 1, 2, CHAT), span(3, 1, "step 1", 3, 4, step)]
    )
    assert "  user  Plan two days in Paris\n  assistant  Here is the plan.\n" in said
    assert '  output  {"left": 3}\n' in said


def test_what_was_searched_and_found_is_shown():
    found = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.retrieval.query.text": "paris",
        "gen_ai.retrieval.documents": "[1]",
    }
    root = {**AGENT, **conversation([USER], [PLAN])}
    said = printed(
        [
            span(1, 0, "invoke_agent a", 0, 9, root),
            span(2, 1, "retrieval", 1, 2, found),
            span(3, 1, "chat m", 3, 4, {**CHAT, **conversation([USER], [PLAN])}),
        ]
    )
    assert "  query  paris\n  documents  [1]\n" in said
    assert said.count("Plan two days") == 1
