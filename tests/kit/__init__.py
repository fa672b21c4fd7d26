"""The conformance kit: what every instrumentor has to keep, as tests that run over cases."""
