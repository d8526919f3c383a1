"""Do the weights of a file belong to the published network? Everything that does not is listed.

What is passed over: layers without weights (data, ReLU, pooling, losses), losses with some,
and siamese copies (`conv1_p`, `conv1_n`), if their weights are those of the original.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.caffe.model_file import CaffeLayer
from toolkit.errors import MismatchError

INPUT = (3, 227, 227)
# The weight of each layer; its bias has the first side. conv2, conv4 and conv5 have two groups.
SHAPES: dict[str, tuple[int, ...]] = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 256 * 6 * 6),
    "fc7": (1024, 4096),
}
_COPY = re.compile(r"(.+)_[pn]")
_OLD_AXES = 4  # the old style pads every shape with ones in front
_MOST_SHOWN = 30


@dataclass(frozen=True, slots=True, eq=False)
class MatchedWeights:
    """What the network is filled with.

    tensors: float32, by the names of `AlexNet` (conv1.weight, conv1.bias, ...); ignored: the
    layers with weights that were passed over.
    """

    tensors: dict[str, NDArray[np.float32]]
    ignored: tuple[str, ...]


def match_weights(layers: Sequence[CaffeLayer], source: str) -> MatchedWeights:
    """The weights of the seven layers. Raises MismatchError that lists all that is wrong."""
    problems: list[str] = []
    ignored: list[str] = []
    found: dict[str, CaffeLayer] = {}
    copies: list[tuple[CaffeLayer, str]] = []
    for layer in layers:
        original = _COPY.fullmatch(layer.name)
        if not layer.blobs:
            continue
        if layer.name in SHAPES:
            if layer.name in found:
                problems.append(f"{layer.name} is there twice")
            found[layer.name] = layer
        elif original and original[1] in SHAPES:
            copies.append((layer, original[1]))
            ignored.append(layer.name)
        elif layer.type.upper().endswith("LOSS"):
            ignored.append(layer.name)
        else:
            problems.append(f"{layer.name!r} is unknown, with weights of {_shapes(layer)}")
    problems += _copy_problems(copies, found)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name in SHAPES:
        if name in found:
            problems += _take(tensors, found[name])
        else:
            problems.append(f"{name} is missing")
    refuse(source, problems)
    return MatchedWeights(tensors, tuple(ignored))


def refuse(source: str, problems: Sequence[str]) -> None:
    """Raise MismatchError with all problems in one message, where there are any."""
    if not problems:
        return
    shown = list(problems[:_MOST_SHOWN])
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    raise MismatchError(
        f"{source} is not the published network: {'; '.join(shown)}.",
        mend="Give the color or gray model of the ICCV 2015 paper; docs/legacy.md says what fits.",
    )


def _take(tensors: dict[str, NDArray[np.float32]], layer: CaffeLayer) -> list[str]:
    """Put the weight and the bias of a layer to the tensors; what is wrong with them."""
    if len(layer.blobs) != 2:
        return [f"{layer.name} has {len(layer.blobs)} arrays, not a weight and a bias"]
    problems = []
    wanted = SHAPES[layer.name]
    for part, shape, blob in zip(
        ("weight", "bias"), (wanted, wanted[:1]), layer.blobs, strict=True
    ):
        if blob.shape not in (shape, (1,) * (_OLD_AXES - len(shape)) + shape):
            problems.append(f"{layer.name}.{part} is {_sides(blob.shape)}, not {_sides(shape)}")
        elif not np.isfinite(blob).all():
            problems.append(f"{layer.name}.{part} has values that are no numbers")
        else:
            tensors[f"{layer.name}.{part}"] = blob.reshape(shape)
    return problems


def _copy_problems(
    copies: Sequence[tuple[CaffeLayer, str]], found: dict[str, CaffeLayer]
) -> list[str]:
    return [
        f"{layer.name} is no copy of {name}: its weights differ"
        for layer, name in copies
        if name in found and not _same(layer, found[name])
    ]


def _same(one: CaffeLayer, other: CaffeLayer) -> bool:
    return len(one.blobs) == len(other.blobs) and all(
        np.array_equal(a, b) for a, b in zip(one.blobs, other.blobs, strict=True)
    )


def _shapes(layer: CaffeLayer) -> str:
    return ", ".join(_sides(blob.shape) for blob in layer.blobs[:4])


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
