"""`uninstrument()` while calls are under way: they end unharmed, their spans end once, and it can be put back on."""

import pytest

from tests.e2e.kit import RUN, World, kind_of, quiet, shape, together, two_steps
from tests.fakes.provider import Reply, ToolUse

HEAD = """
import asyncio, logging, os, threading, time
import anthropic, loop, nexus_otel
from anthropic import _base_client, _response
from anthropic.lib.tools import _beta_runner
from anthropic.resources.beta.messages import messages as beta
from anthropic.resources.messages import messages
logging.basicConfig(format="%(name)s %(message)s")
OWNERS = (
    messages.Messages, messages.AsyncMessages, beta.Messages, beta.AsyncMessages, _base_client.BaseClient,
    _base_client.SyncAPIClient, _base_client.AsyncAPIClient, _response.APIResponse, _response.AsyncAPIResponse, _beta_runner,
)
def held():
    return [(owner, name, value) for owner in OWNERS for name, value in vars(owner).items() if not name.startswith("__")]
def same(before):
    now = {(owner, name): value for owner, name, value in held()}
    return [(owner, name) for owner, name, value in before if now.get((owner, name)) is not value]
ORIGINALS = held()
ASKED = loop.request([{"role": "user", "content": "x"}])
"""
TAIL = """
assert same(ORIGINALS) == [], same(ORIGINALS)
assert loop.ask("unseen", loop.client(api_key=os.environ["KEYS"] + ".unseen")) == "done"
nexus_otel.instrument()
assert same(ORIGINALS) != []
assert loop.ask("again", loop.client(api_key=os.environ["KEYS"] + ".again")) == "done"
nexus_otel.uninstrument()
assert same(ORIGINALS) == [], same(ORIGINALS)
print("all right")
"""
UNDER_WAY = {
    "threads": """
answers = []
model = loop.client(api_key=os.environ["KEYS"] + ".slow")
nexus_otel.instrument()
thread = threading.Thread(target=lambda: answers.append(loop.ask(to=model)))
thread.start()
time.sleep(0.4)
nexus_otel.uninstrument()
thread.join()
assert answers == ["done"], answers
""",
    "many threads": """
answers = []
model = loop.client(api_key=os.environ["KEYS"] + ".many")
nexus_otel.instrument()
threads = [
    threading.Thread(target=lambda: answers.append(model.messages.create(**ASKED).content[0].text)) for _ in range(16)
]
[thread.start() for thread in threads]
time.sleep(0.4)
nexus_otel.uninstrument()
[thread.join() for thread in threads]
assert answers == ["one"] * 16, answers
""",
    "threads that come and go": """
answers, stop = [], threading.Event()
model = loop.client(api_key=os.environ["KEYS"] + ".quick")
def agent():
    while not stop.is_set():
        answers.append(model.messages.create(**ASKED, stream=len(answers) % 2 == 0) is not None)
threads = [threading.Thread(target=agent) for _ in range(3)]
[thread.start() for thread in threads]
for _ in range(8):
    nexus_otel.instrument()
    time.sleep(0.02)
    nexus_otel.uninstrument()
stop.set()
[thread.join() for thread in threads]
assert len(answers) > 8
""",
    "a stream half read": """
nexus_otel.instrument()
stream = loop.client(api_key=os.environ["KEYS"] + ".stream").messages.create(**ASKED, stream=True)
events = [next(stream) for _ in range(3)]
nexus_otel.uninstrument()
events += list(stream)
assert events[-1].type == "message_stop" and len(events) > 4, events
""",
    "a stream's manager": """
nexus_otel.instrument()
with loop.client(api_key=os.environ["KEYS"] + ".stream").messages.stream(**ASKED) as stream:
    first = next(stream.text_stream)
    nexus_otel.uninstrument()
    rest = list(stream.text_stream)
    assert first + "".join(rest) == "one two three", (first, rest)
    assert stream.get_final_message().content[0].text == "one two three"
""",
    "a manager that is not entered": """
nexus_otel.instrument()
manager = loop.client(api_key=os.environ["KEYS"] + ".stream").messages.stream(**ASKED)
nexus_otel.uninstrument()
with manager as stream:
    assert stream.get_final_text() == "one two three"
""",
    "a raw response": """
nexus_otel.instrument()
with loop.client(api_key=os.environ["KEYS"] + ".many").messages.with_streaming_response.create(**ASKED) as response:
    nexus_otel.uninstrument()
    assert response.parse().content[0].text == "one"
""",
    "tasks": """
async def main():
    async with anthropic.AsyncAnthropic(max_retries=0, api_key=os.environ["KEYS"] + ".many") as client:
        tasks = [asyncio.create_task(client.messages.create(**ASKED)) for _ in range(8)]
        async def reads():
            async with client.with_options(api_key=os.environ["KEYS"] + ".stream").messages.stream(**ASKED) as stream:
                return await stream.get_final_text()
        tasks.append(asyncio.create_task(reads()))
        await asyncio.sleep(0.4)
        nexus_otel.uninstrument()
        return await asyncio.gather(*tasks)
nexus_otel.instrument()
answers = asyncio.run(main())
assert [answer.content[0].text for answer in answers[:8]] == ["one"] * 8
assert answers[8] == "one two three"
""",
    "a tool runner": """
@anthropic.beta_tool
def look(key: str) -> str:
    "Look."
    nexus_otel.uninstrument()
    return key
nexus_otel.instrument()
client = loop.client(api_key=os.environ["KEYS"] + ".slow")
runner = client.beta.messages.tool_runner(
    model="m", max_tokens=9, tools=[look], messages=[{"role": "user", "content": "x"}]
)
assert runner.until_done().content[0].text == "done"
""",
}
EXPECTED = {
    # the operations of the runs that were under way, one string for each
    "threads": ["invoke_agent chat"],
    "many threads": ["invoke_agent chat"] * 16,
    "a stream half read": ["invoke_agent chat"],
    "a stream's manager": ["invoke_agent chat"],
    "a manager that is not entered": [],
    "a raw response": ["invoke_agent chat"],
    "tasks": ["invoke_agent chat"] * 9,
    "a tool runner": ["invoke_agent chat execute_tool"],
}
SLOW_S = 1.0


def one(provider, folder, name):
    world = World.made(provider, folder)
    scripts = {
        "slow": [Reply(tools=[ToolUse("look", {"key": "a"})], delay_s=SLOW_S), Reply("done")],
        "many": [Reply("one", delay_s=SLOW_S)] * 16,
        "quick": [Reply("one")] * 10_000,
        "stream": [Reply("one two three", chunk_delay_s=0.1)],
        "unseen": two_steps(),
        "again": two_steps(),
    }
    for key, steps in scripts.items():
        provider.load(steps, f"{world.key}.{key}")
    return world.bare(HEAD + UNDER_WAY[name] + TAIL, KEYS=world.key), world.stored()


@pytest.fixture(scope="module")
def ran(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taking_off")
    results = together(*(lambda name=name: one(provider, folder, name) for name in UNDER_WAY))
    return dict(zip(UNDER_WAY, results, strict=True))


@pytest.mark.parametrize("name", UNDER_WAY)
def test_calls_end_unharmed_and_the_library_has_its_own_back(ran, name):
    quiet(ran[name][0], "all right\n")


@pytest.mark.parametrize("name", UNDER_WAY)
def test_spans_end_once(ran, name):
    spans = ran[name][1]
    assert len({span.span_id for span in spans}) == len(spans)
    assert {span.status for span in spans} == {0}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_was_under_way_is_recorded_to_its_end(ran, name):
    by_trace = {}
    for span in ran[name][1]:
        by_trace.setdefault(span.trace_id, []).append(span)
    again = [spans for spans in by_trace.values() if shape(spans) == RUN]
    assert len(again) == 1  # what came after it was put on again, and nothing of what came between
    under_way = [spans for spans in by_trace.values() if spans is not again[0]]
    found = [" ".join(kind_of(span) for span in sorted(spans, key=lambda span: span.start_ns)) for spans in under_way]
    assert found == EXPECTED[name]
    for spans in under_way:
        chats = [span for span in spans if kind_of(span) == "chat"]
        (root,) = (span for span in spans if not span.parent_id)
        assert [chat.attributes["gen_ai.usage.output_tokens"] for chat in chats] == [20]
        assert [chat.attributes.get("nexus.stream.outcome") for chat in chats] == [None]
        assert [root.start_ns <= chat.start_ns <= chat.end_ns <= root.end_ns for chat in chats] == [True]


def test_a_class_that_took_ours_over_is_recorded_and_has_the_library_s_own_back(world):
    program = """
    import nexus_otel
    nexus_otel.instrument()
    import anthropic, httpx2, json, loop
    from anthropic.resources.beta.messages import messages as beta
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": "yes"}], "usage": {"input_tokens": 7, "output_tokens": 3},
    }
    http = httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(200, json=message)))
    client = anthropic.AnthropicVertex(region="global", project_id="p", access_token="t", http_client=http)
    kind = type(client.beta.messages)
    asked = loop.request([{"role": "user", "content": "x"}])
    print(client.beta.messages.create(**asked).content[0].text)
    nexus_otel.uninstrument()
    print(vars(kind)["create"] is vars(beta.Messages)["create"], type(vars(kind)["create"]).__name__)
    print(client.beta.messages.create(**asked).content[0].text)
    nexus_otel.instrument()
    print(client.beta.messages.create(**asked).content[0].text)
    """
    quiet(world.bare(program), "yes\nTrue function\nyes\nyes\n")
    assert shape(world.stored()) == RUN[:1] * 2 + RUN[1:2] * 2
