"""The command line."""

from __future__ import annotations


def main() -> int:
    """Run `nexus-otel`; return its exit code."""
    from nexus_otel.cli.app import run

    return run()
