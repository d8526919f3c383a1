"""An index in Milvus: the same store and sink, on a server or on its embedded engine."""
