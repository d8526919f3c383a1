"""Vectors in, places out: FAISS segments, the catalog, and search over both."""
