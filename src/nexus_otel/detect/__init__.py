"""The failure modes of agents, found in spans: pure, streaming, bounded; the same live, offline, over others' traces.

An island: the standard library, jsonschema, `normal`, `schema` and `semconv` only.
"""
