"""Servers on this machine that stand in for a model provider and for an OTLP backend."""
