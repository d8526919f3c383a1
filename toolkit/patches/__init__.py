"""Pairs of patches at rest: WebDataset shards, written once and read by position."""
