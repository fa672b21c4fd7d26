"""Needs the set `chdb-newest`: the engine of ClickHouse, and its client."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("chdb") and find_spec("clickhouse_connect") else ["test_*.py"]
