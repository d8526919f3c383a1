"""The labels of an index as files that other programs read."""
