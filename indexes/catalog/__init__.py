"""What SQLite keeps of an index: its patches, segments, labels, and whose model they are of."""
