"""A network as an ONNX graph: one file, plain uint8 RGB in, vectors of length 1 out."""
