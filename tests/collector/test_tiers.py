"""Both tiers, really: an agent's collector in front of two gateways, and what becomes of a run when one of them is away."""

from __future__ import annotations

import pytest

from tests.collector.kit import FOLDER, QUICK, Collector, built, free_port, soon
from tests.collector.made import Made, agent

STEPS = 5
KEEP_WHOLE = {
    **QUICK,
    "NEXUS_COLLECTOR_MANY_SPANS": str(STEPS + 1),
    # longer than a request waits for its next try: parts of a run come in any order after an outage
    "NEXUS_COLLECTOR_WAIT": "20s",
    "NEXUS_COLLECTOR_WAIT_AFTER_ROOT": "8s",
}
"""A run is kept if one gateway sees all of it, and only then."""
SECRET = "sk-" + "a1B2c3D4" * 4


@pytest.fixture
def gateways(tmp_path, receiver):
    """Two gateways on known addresses, in front of one backend."""
    config = [FOLDER / "gateway.yaml"]
    running = []
    for number in (1, 2):
        own = f"exporters: {{prometheus: {{endpoint: '127.0.0.1:{free_port()}'}}}}\n"
        given = {**KEEP_WHOLE, "NEXUS_COLLECTOR_BACKEND": receiver.url}
        running.append(Collector(built("manifest-full.yaml"), tmp_path / f"g{number}", given, tiers=config, more=own))
    yield running
    for one in running:
        one.kill()


@pytest.fixture
def tier(tmp_path, gateways):
    """The agents' tier; its gateways are named one by one, for there is no DNS here."""
    hosts = ", ".join(f"'127.0.0.1:{one.grpc_port}'" for one in gateways)
    own = f"exporters: {{load_balancing: {{resolver: {{dns: null, static: {{hostnames: [{hosts}]}}}}}}}}\n"
    made = Collector(
        built("manifest-full.yaml"), tmp_path / "agent", dict(QUICK), tiers=[FOLDER / "agent.yaml"], more=own
    )  # fmt: skip
    with made as running:
        yield running


def spread():
    """Runs of three requests each, with a secret in them."""
    return [agent(100, *(Made(attributes={"note": f"use {SECRET}"}) for _ in range(STEPS))) for _ in range(12)]


def send(tier, runs):
    """The requests of all runs, one of each in turn."""
    for part in zip(*(run.requests(3) for run in runs), strict=True):
        for request in part:
            assert tier.post(request)


def whole(receiver, runs):
    wanted = {run.trace_id: len(run.spans) for run in runs}
    found = {trace: sum(span.trace_id == trace for span in receiver.spans) for trace in wanted}
    return found == wanted


def test_a_run_comes_whole_through_one_gateway_and_masked(tier, gateways, receiver):
    for one in gateways:
        one.start()
    runs = spread()
    send(tier, runs)
    soon(lambda: whole(receiver, runs))
    assert SECRET not in repr(receiver.spans)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_what_the_agents_tier_took_is_delivered_when_it_and_the_gateways_come_back(tier, gateways, receiver, how):
    runs = spread()
    send(tier, runs)  # no gateway is there
    {"SIGTERM": tier.stop, "SIGKILL": tier.kill}[how]()
    for one in gateways:
        one.start()
    tier.start()
    soon(lambda: whole(receiver, runs))
