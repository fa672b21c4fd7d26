"""The table of faults, in small: nothing is lost after a replay, the exit waits a second at most, no span ever waits."""

import re
import signal

import pytest

from tests.e2e.kit import together
from tests.faults.table import Fault, Load, bare_mb, in_folder, measured

BOTH = ("http/protobuf", "grpc")
EXIT_S = 1 + 1.5
"""What the exit may take: the setting, and what an interpreter takes on a busy machine."""
WAITED_MS = 900
"""Less than a request that hangs takes, more than a busy machine takes a thread away for."""
STEADY = Load(900, 600)
FAULTS = {
    "refuse": Fault("refuse", 0, 0.3),
    "hang": Fault("hang", 0, 30),
    "slow": Fault("slow", 0, 30),
    "429": Fault("429", 0, 0.3),
    "500": Fault("500", 0, 0.3),
    "503": Fault("503", 0, 0.3),
    "503, retry after 1 s": Fault("503", 0, 0.1, retry_after=1),
    "503, retry after 15 s": Fault("503", 0, 30, retry_after=15),
    "301 or INTERNAL": Fault("301", 0, 0.3),
    "lost acknowledgements": Fault("lost", 0, 0.3),
    "400": Fault("400", 0, 30),
    "401": Fault("401", 0, 30),
}
CODES = {
    "301": "INTERNAL", "429": "RESOURCE_EXHAUSTED", "500": "UNKNOWN", "503": "UNAVAILABLE", "400": "INVALID_ARGUMENT",
    "401": "UNAUTHENTICATED",
}  # fmt: skip


def over(fault, protocol):
    """The fault with gRPC's code for its status."""
    behaviour = CODES.get(fault.behaviour, fault.behaviour) if protocol == "grpc" else fault.behaviour
    return Fault(behaviour, fault.begins_s, fault.lasts_s, fault.retry_after, fault.limit)


def rows(cases):
    """Measure cases (load, fault, protocol), a few at a time."""
    jobs = [lambda case=case: in_folder(lambda folder: measured(*case, folder)) for case in cases.values()]
    return dict(zip(cases, together(*jobs), strict=True))


@pytest.fixture(scope="module")
def failing():
    return rows(
        {
            (name, protocol): (STEADY, over(fault, protocol), protocol)
            for name, fault in FAULTS.items()
            for protocol in BOTH
        }
    )


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_of_the_collector_loses_a_span(failing, name, protocol):
    row = failing[name, protocol]
    assert (row.code, row.said) == (0, "")
    assert (row.lost, row.flushed) == (0, 0)
    assert row.exit_s < EXIT_S
    assert row.worst_ms < WAITED_MS
    assert row.identities == 1
    assert row.failed >= 1
    assert row.duplicates > 0 or name != "lost acknowledgements"
    if name not in {"lost acknowledgements", "slow", "hang"}:  # where the answer came too late, or not at all
        assert row.duplicates == 0


SIZES = {
    # name: load, the largest request that is taken
    "burst of 3,000": (Load(3_000), None),
    "64 x 50 KB": (Load(64, 0, 50_000), None),
    "100 x 50 KB, 1 MB at most": (Load(100, 0, 50_000), 1_000_000),
    "24 x 200 KB": (Load(24, 0, 200_000), None),
    "16 x 50 KB, 20 KB at most": (Load(16, 0, 50_000), 20_000),
}


@pytest.fixture(scope="module")
def sized():
    return rows(
        {
            (name, protocol): (load, Fault(limit=limit), protocol)
            for name, (load, limit) in SIZES.items()
            for protocol in BOTH
        }
    )


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("name", SIZES)
def test_no_size_loses_a_span(sized, name, protocol):
    row = sized[name, protocol]
    assert (row.code, row.said) == (0, "")
    assert (row.lost, row.duplicates, row.flushed) == (0, 0, 0)
    assert row.exit_s < EXIT_S


@pytest.mark.parametrize("protocol", BOTH)
def test_memory_stays_where_it_is_behind_a_sink_that_hangs(protocol, tmp_path):
    load = Load(800, 0, 50_000)
    row = measured(load, Fault("hang", 0, 60), protocol, tmp_path)
    assert row.lost == 0
    assert row.exit_s < EXIT_S
    assert row.resident_mb - bare_mb(load, tmp_path) < 60


@pytest.mark.parametrize("protocol", BOTH)
def test_what_the_server_rejects_is_all_that_is_missing(protocol, tmp_path):
    row = measured(STEADY, Fault("partial", 0, 30), protocol, tmp_path)
    assert 1 <= row.lost <= row.requests


ENDINGS = {
    "return": 0, "sys.exit": 3, "exception": 1, "SIGINT": -signal.SIGINT, "SIGTERM": -signal.SIGTERM,
    "SIGKILL": -signal.SIGKILL, "os._exit": 3, "abort": -signal.SIGABRT, "execv": 0, "asyncio": -signal.SIGTERM,
}  # fmt: skip


@pytest.fixture(scope="module")
def ended():
    return rows(
        {
            (name, protocol): (Load(300, 0, 0, name), Fault("503", 0, 30), protocol)
            for name in ENDINGS
            for protocol in BOTH
        }
    )


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("name", ENDINGS)
def test_no_ending_loses_a_span(ended, name, protocol):
    row = ended[name, protocol]
    assert row.code == ENDINGS[name]
    assert (row.lost, row.duplicates, row.flushed) == (0, 0, 0)
    assert row.exit_s < EXIT_S


CHILDREN = ("fork + sys.exit", "fork + os._exit", "fork + SIGTERM", "fork", "spawn", "Pool")


@pytest.fixture(scope="module")
def children():
    return rows(
        {(name, protocol): (Load(200, 0, 0, name), Fault(), protocol) for name in CHILDREN for protocol in BOTH}
    )


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("name", CHILDREN)
def test_no_child_loses_a_span_or_sends_one_of_another(children, name, protocol):
    row = children[name, protocol]
    assert row.code == 0
    assert not re.search("nexus", row.said)
    assert (row.lost, row.identities, row.flushed) == (0, 1, 0)
    if name in {"fork + sys.exit", "spawn"}:  # the others may die between the answer and the acknowledgement on disk
        assert row.duplicates == 0
