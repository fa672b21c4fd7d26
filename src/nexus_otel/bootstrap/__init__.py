"""Activation: import hooks, providers, exit."""
