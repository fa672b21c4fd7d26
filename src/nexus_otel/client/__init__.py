"""The manual API: agents that no instrumentor knows, and people who want three explicit lines."""
