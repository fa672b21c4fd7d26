"""Where spans go: written through to a spool on disk, read back locally, sent to a collector."""
