"""Watching a run: is it healthy, and what does it look like. Nothing here changes a weight."""
