"""`import nexus_otel.auto` does from inside what `nexus-instrument` does from outside."""

from nexus_otel.bootstrap.activate import activate

activate("import")
