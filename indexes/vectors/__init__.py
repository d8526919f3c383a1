"""Vectors at rest and the search among them, by row; what a row is stands in the catalog."""
