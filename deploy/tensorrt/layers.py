"""The precision of a network that TensorRT has parsed, read off its layers before a build.

Networks are strongly typed: TensorRT computes a layer in the types of its tensors, so what
is found here is what will be built. What counts are the layers that multiply (convolutions
and matrix products), which take nearly all the time.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy.proof.parity import Precision
from toolkit.errors import QualityGateError

_MULTIPLY = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM")
_RESHAPE = ("SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE", "CAST")
_NAMES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}


def count_precisions(trt: ModuleType, network: Any) -> dict[str, int]:
    """How many of the layers that multiply compute in which precision, such as {"fp16": 7}.

    A layer computes in int8 where everything that it multiplies has just been dequantized
    from int8: that is how an ONNX graph says it, and TensorRT fuses it.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {
        layer.get_output(index).name: layer
        for layer in layers
        for index in range(layer.num_outputs)
    }
    multiply, reshape = _kinds(trt, _MULTIPLY), _kinds(trt, _RESHAPE)

    def dequantized_from(tensor: Any) -> str:
        layer = makers.get(tensor.name)
        while layer is not None and layer.type in reshape:
            layer = makers.get(layer.get_input(0).name)
        if layer is None or layer.type != trt.LayerType.DEQUANTIZE:
            return ""
        return _name(layer.get_input(0).dtype)

    def precision(layer: Any) -> str:
        tensors = [layer.get_input(index) for index in range(layer.num_inputs)]
        factors = [tensor for tensor in tensors[:2] if tensor is not None]
        # A convolution whose kernel is no tensor holds it as weights of its own type.
        if len(factors) == 2 and {dequantized_from(tensor) for tensor in factors} == {"int8"}:
            return "int8"
        return _name(factors[0].dtype)

    return dict(Counter(precision(layer) for layer in layers if layer.type in multiply))


def _kinds(trt: ModuleType, names: tuple[str, ...]) -> set[Any]:
    """Those of the kinds of layers that this TensorRT knows."""
    return {getattr(trt.LayerType, name) for name in names if hasattr(trt.LayerType, name)}


def _name(dtype: Any) -> str:
    name = str(dtype).rpartition(".")[2]
    return _NAMES.get(name, name.lower())


def check_precision(counts: Mapping[str, int], asked: Precision, onnx: Path) -> None:
    """Refuse a network that would not compute in the precision that was asked for.

    fp32 is every layer that multiplies; fp16 and int8 are at least half of them, because
    some are better left alone. Raises QualityGateError.
    """
    total, kept = sum(counts.values()), counts.get(asked, 0)
    if asked == "fp32" and kept == total:
        return
    if asked != "fp32" and 2 * kept >= total > 0:
        return
    told = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items())) or "none"
    raise QualityGateError(
        f"{onnx} is said to be {asked}, and an engine of it would not be: of its {total} layers "
        f"that multiply, TensorRT would compute {told}. No engine was built.",
        mend="Export it again with `vr export`, which puts the precision into the graph.",
    )
