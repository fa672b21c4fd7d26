"""Memory stays flat however many runs, failures and unanswered tool calls a process has seen."""

import pytest

from tests.e2e.kit import LAUNCHER, PYTHON, World, quiet, together

FAKE = """
import gc, json, os, sys
import anthropic, httpx2
import loop
count = 0
def reply(request):
    global count
    count += 1
    if MODE == "failing" and count % 3 == 0:
        return httpx2.Response(500, json={"type": "error", "error": {"type": "api_error", "message": "no " + "x" * 500}})
    asks = MODE == "unanswered"
    content = [{"type": "tool_use", "id": f"toolu_{count}", "name": "look", "input": {"key": "x" * 500}}] if asks else [
        {"type": "text", "text": "done"}]
    return httpx2.Response(200, json={
        "id": f"msg_{count}", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "tool_use" if asks else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1}})
MODE = sys.argv[1]
client = anthropic.Anthropic(http_client=httpx2.Client(transport=httpx2.MockTransport(reply)), max_retries=0)

def one(number):
    try:
        client.messages.create(**loop.request([{"role": "user", "content": f"question {number} " + "x" * 500}]))
    except anthropic.APIStatusError:
        pass

def resident_kb():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

TOTAL = int(sys.argv[2])
half = None
for number in range(TOTAL):
    one(number)
    if number == TOTAL // 2:
        half = resident_kb()
with open("grown", "w") as file:
    file.write(str(resident_kb() - half))
print("done")
"""
GROWN_KB = 10_000
"""What the second half of the calls may add: 2 KB each, much less than a run that stays in memory takes."""
CASES = {"unanswered": 10_000, "failing": 10_000}
"""What the model does, and how many runs there are: it asks for a tool that nobody runs, or each third call fails."""


@pytest.fixture(scope="module")
def grown(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")

    def one(mode, total):
        world = World.made(provider, folder)
        done = world.run(
            LAUNCHER, PYTHON, world.write("agent.py", FAKE), mode, total,
            NEXUS_DURABILITY="batch", timeout_s=200,
        )  # fmt: skip
        return done, int((world.folder / "grown").read_text() or 0) if done.code == 0 else None

    results = together(*(lambda mode=mode, total=total: one(mode, total) for mode, total in CASES.items()))
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("mode", CASES)
def test_memory_is_flat(grown, mode):
    done, kilobytes = grown[mode]
    assert done.code == 0, done.err
    assert kilobytes < GROWN_KB


def test_nothing_is_said(grown):
    quiet(grown["failing"][0], "done\n")


def test_that_there_are_too_many_open_runs_is_said_at_most_once(grown):
    assert grown["unanswered"][0].err.count("\n") <= 1
