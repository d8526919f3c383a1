"""Making an index and looking after it: build, remove, compact, verify."""
