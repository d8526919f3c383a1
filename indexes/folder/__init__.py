"""An index in a folder: a catalog and segments of vectors."""
