"""One file per library: a table of targets and pure readers."""
