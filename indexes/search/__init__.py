"""A query in, places out: which video, when, where in the frame."""
