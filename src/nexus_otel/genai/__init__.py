"""The words for what an agent does, and the one place that turns them into telemetry."""
