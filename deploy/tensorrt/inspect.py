"""The precision of an engine that was built, read off what it says of its own layers.

This needs a GPU: an engine is only inspected after it was loaded. What an engine tells is
that of TensorRT's engine inspector with detailed verbosity; layers that hide what is inside
(the compiler's fused ones) tell nothing but their inputs and outputs.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.proof.parity import Precision
from toolkit.errors import QualityGateError
from toolkit.workspace import parse_json

OPAQUE = "opaque"

# From what TensorRT writes, such as "Row major linear FP16 format", "Half" or "Int8".
_PATTERNS = {
    "int8": re.compile(r"(?<![a-z])int8"),
    "fp8": re.compile(r"\bfp8"),
    "fp16": re.compile(r"\b(fp16|half|float16)\b"),
    "bf16": re.compile(r"\b(bf16|bfloat16)\b"),
    "fp32": re.compile(r"\b(fp32|float|float32)\b"),
}
_HIDING = re.compile(r"myelin|foreignnode|kgen", re.IGNORECASE)


def count_built(information: str) -> dict[str, int]:
    """How many layers of an engine work in which precision, of what its inspector says.

    A layer's precision is the lowest of its tensors and weights. "opaque" counts the layers
    that tell nothing, or hide what is inside.
    """
    try:
        layers = parse_json(information)["Layers"]
        return dict(Counter(_precision(layer) for layer in layers))
    except (ValueError, KeyError, TypeError):
        return {}


def _precision(layer: Any) -> str:
    if not isinstance(layer, Mapping):  # a name alone
        return OPAQUE
    told = " ".join(_types(layer)).lower()
    found = next((name for name, pattern in _PATTERNS.items() if pattern.search(told)), OPAQUE)
    hides = _HIDING.search(f"{layer.get('LayerType')} {layer.get('Name')}")
    return OPAQUE if hides and found == "fp32" else found


def _types(layer: Mapping[str, Any]) -> Iterator[str]:
    for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ())):
        if isinstance(tensor, Mapping):
            yield from (str(tensor.get(key, "")) for key in ("Format/Datatype", "Datatype"))
    for key in ("Weights", "Bias"):
        weights = layer.get(key)
        if isinstance(weights, Mapping):
            yield str(weights.get("Type", ""))


def check_built(counts: Mapping[str, int], asked: Precision, onnx: Path) -> bool:
    """Whether the engine says that it is what was asked for; False where it does not tell.

    Raises QualityGateError where it says otherwise: nothing lower than was asked for, and
    what was asked for somewhere, unless the engine hides it.
    """
    lower = {"fp32": ("fp16", "bf16", "fp8", "int8"), "fp16": ("fp8", "int8"), "int8": ("fp8",)}
    wrong = any(counts.get(name) for name in lower[asked])
    if counts.get(asked) and not wrong:
        return asked != "fp32" or not counts.get(OPAQUE)
    if not wrong and (not counts or counts.get(OPAQUE)):
        return False
    told = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
    raise QualityGateError(
        f"TensorRT built an engine of {onnx} that is not {asked}: of its layers it says {told}. "
        "The engine was thrown away.",
        mend="Report this with the version of TensorRT and the bundle's model.json.",
    )
