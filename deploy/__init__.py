"""Leaving and re-entering Python: bundles, ONNX, TensorRT engines, runtimes, parity."""
