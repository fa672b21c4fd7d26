"""Every file that we ship is one that the collector takes."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.collector.kit import FOLDER, ROOT, SHIPPED, built
from tests.e2e.kit import clean

TIERS = {
    "agent": ["agent.yaml"],
    "gateway": ["gateway.yaml"],
    "one node to ClickHouse": ["clickhouse.yaml"],
    "gateway to ClickHouse": ["gateway.yaml", "clickhouse.yaml"],
}


def validated(binary, *files, **env):
    given = [part for file in (SHIPPED, *files) for part in ("--config", file)]
    return subprocess.run(
        [binary, "validate", *given], capture_output=True, text=True, timeout=60, env={**clean(), **env}
    )  # fmt: skip


def settings(text):
    return set(re.findall(r"\$\{env:(NEXUS_[A-Z_]+)", text))


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"NEXUS_COLLECTOR_TRACES": "[file/traces, otlp_http]", "NEXUS_COLLECTOR_METRICS": "[otlp_grpc]"},
        {"NEXUS_COLLECTOR_SAMPLING": "[]", "NEXUS_COLLECTOR_LOGS": "[otlp_http]"},
    ],
)
def test_the_file_for_one_machine_is_valid(env):
    done = validated(built(), **env)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr


def test_a_slip_in_it_is_told(tmp_path):
    slip = tmp_path / "slip.yaml"
    slip.write_text("processors: {tail_sampling: {decision_weight: 1s}}")
    done = validated(built(), slip)
    assert done.returncode != 0
    assert "decision_weight" in done.stderr


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_is_valid(tier):
    done = validated(built("manifest-full.yaml"), *(FOLDER / name for name in TIERS[tier]))
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr


@pytest.mark.parametrize("path", [SHIPPED, *sorted(FOLDER.glob("*.yaml"))], ids=lambda path: path.name)
def test_what_a_file_says_about_its_settings_is_so(path):
    text = path.read_text("utf-8")
    named = set(re.findall(r"^# +(NEXUS_[A-Z_]+) ", text, re.MULTILINE))
    everywhere = settings("".join(file.read_text("utf-8") for file in (SHIPPED, *FOLDER.glob("*.yaml"))))
    assert named <= everywhere


def test_both_manifests_are_of_one_release():
    found = {name: (FOLDER / name).read_text("utf-8") for name in ("manifest.yaml", "manifest-full.yaml")}
    parts = {name: set(re.findall(r"gomod: (\S+ v\S+)", text)) for name, text in found.items()}
    assert parts["manifest.yaml"] < parts["manifest-full.yaml"]
    release = {part.split()[1] for part in parts["manifest-full.yaml"] if "confmap" not in part}
    assert len(release) == 1
    image = f"otel/opentelemetry-collector-contrib:{release.pop().removeprefix('v')}"
    for name in ("docker-compose.yaml", "kubernetes.yaml"):
        text = (FOLDER / name).read_text("utf-8")
        assert set(re.findall(r"otel/opentelemetry-collector-contrib:\S+", text)) == {image}
        for mounted in re.findall(r"\.{1,2}/[\w./-]+\.(?:yaml|sql)", text):
            assert (FOLDER / mounted).exists() or (ROOT / mounted).exists(), mounted
