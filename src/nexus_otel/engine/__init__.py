"""Drives every wrapped call once: sync, async, streams and async streams."""
