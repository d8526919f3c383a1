"""Video in: probing and decoding with PyAV, in PTS seconds."""
