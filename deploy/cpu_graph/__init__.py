"""Rewrites of ONNX graphs: the same function, in the form that a runtime is fast at."""

from deploy.cpu_graph.cpu import for_onnxruntime_cpu

__all__ = ["for_onnxruntime_cpu"]
