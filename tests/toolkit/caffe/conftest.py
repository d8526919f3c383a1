"""Writes Caffe's files byte by byte, from the protocol buffer specification alone."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

Style = Literal["new", "old", "ancient"]
Array = NDArray[np.float32]

# The published network, as the paper (section 4) and its prototxt describe it.
CHAIN = (
    ("conv1", "num_output: 96 kernel_size: 11 stride: 4", (96, 3, 11, 11)),
    ("conv2", "num_output: 256 kernel_size: 5 pad: 2 group: 2", (256, 48, 5, 5)),
    ("conv3", "num_output: 384 kernel_size: 3 pad: 1", (384, 256, 3, 3)),
    ("conv4", "num_output: 384 kernel_size: 3 pad: 1 group: 2", (384, 192, 3, 3)),
    ("conv5", "num_output: 256 kernel_size: 3 pad: 1 group: 2", (256, 192, 3, 3)),
    ("fc6", "num_output: 4096", (4096, 9216)),
    ("fc7", "num_output: 1024", (1024, 4096)),
)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def packed_dims(shape: Sequence[int]) -> bytes:
    return field(7, field(1, b"".join(map(varint, shape))))


def old_sides(shape: Sequence[int]) -> bytes:
    sides = [1] * (4 - len(shape)) + list(shape)
    return b"".join(field(i, side) for i, side in enumerate(sides, 1))


def unpacked(number: int, values: Array) -> bytes:
    """A repeated float as protocol buffers wrote it before `packed`: a tag for each value."""
    rows = np.empty((values.size, 5), np.uint8)
    rows[:, 0] = number << 3 | 5
    rows[:, 1:] = np.ascontiguousarray(values, "<f4").reshape(-1, 1).view(np.uint8)
    return rows.tobytes()


def blob(values: Array, style: Style = "new") -> bytes:
    data = field(5, np.ascontiguousarray(values, "<f4").tobytes())
    return (packed_dims(values.shape) if style == "new" else old_sides(values.shape)) + data


def double_blob(values: Array) -> bytes:
    data = b"".join(struct.pack("<d", float(value)) for value in values.ravel())
    return packed_dims(values.shape) + field(8, data)


V1_TYPES = {"Convolution": 4, "InnerProduct": 14, "ReLU": 18, "Data": 5, "SoftmaxWithLoss": 21}


def layer(name: str, kind: str, blobs: Sequence[bytes], style: Style = "new") -> bytes:
    """A layer of NetParameter: `layer`, `layers`, or `layers` around a `layer`."""
    if style == "new":
        content = field(1, name) + field(2, kind) + b"".join(field(7, b) for b in blobs)
        return field(100, content)
    if style == "old":
        content = field(4, name) + field(5, V1_TYPES[kind]) + b"".join(field(6, b) for b in blobs)
        return field(2, content)
    kind = {"Convolution": "conv", "InnerProduct": "innerproduct"}[kind]
    content = field(1, name) + field(2, kind) + b"".join(field(50, b) for b in blobs)
    return field(2, field(1, content))


def model(weights: Mapping[str, Sequence[Array]], style: Style = "new") -> bytes:
    """A .caffemodel of layers by name, each with its arrays."""
    out = [field(1, "UnsupNet")]
    for name, arrays in weights.items():
        kind = "InnerProduct" if name.startswith("fc") else "Convolution"
        out.append(layer(name, kind, [blob(a, style) for a in arrays], style))
    return b"".join(out)


def _old_type(kind: str) -> str:
    return {"InnerProduct": "INNER_PRODUCT"}.get(kind, kind.upper())


def prototxt(style: Style = "new", size: int = 227) -> str:
    """The description of the published network in the new or the old spelling."""
    sides = (1, 3, size, size)
    head = 'name: "UnsupNet"\ninput: "data"\n'
    if style == "new":
        head += "input_shape {" + " ".join(f"dim: {side}" for side in sides) + "}\n"
    else:
        head += "".join(f"input_dim: {side}\n" for side in sides)
    parts, below = [head], "data"

    def add(name: str, kind: str, top: str, parameters: str = "") -> None:
        nonlocal below
        word, said = ("layer", f'"{kind}"') if style == "new" else ("layers", _old_type(kind))
        blobs = f'bottom: "{below}" top: "{top}"'
        parts.append(f'{word} {{ name: "{name}" type: {said} {blobs} {parameters} }}\n')
        below = top

    for name, parameters, _ in CHAIN:
        dense = name.startswith("fc")
        where = "inner_product_param" if dense else "convolution_param"
        add(name, "InnerProduct" if dense else "Convolution", name, f"{where} {{ {parameters} }}")
        add(f"relu{name[-1]}", "ReLU", name)
        if name in ("conv1", "conv2", "conv5"):
            add(
                f"pool{name[-1]}", "Pooling", f"pool{name[-1]}",
                "pooling_param { pool: MAX kernel_size: 3 stride: 2 }",
            )  # fmt: skip
        if name in ("conv1", "conv2"):
            add(
                f"norm{name[-1]}", "LRN", f"norm{name[-1]}",
                "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }",
            )  # fmt: skip
    return "".join(parts)


def random_weights(seed: int = 0) -> dict[str, list[Array]]:
    """Weights large enough for every layer, LRN included, to matter."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, _, shape in CHAIN:
        inputs = int(np.prod(shape[1:]))
        scale = 0.05 if name == "conv1" else np.sqrt(2 / inputs)
        weight = random.standard_normal(shape, np.float32) * np.float32(scale)
        weights[name] = [weight, random.standard_normal(shape[0], np.float32)]
    return weights


@dataclass(frozen=True)
class CaffeWriter:
    """The functions above, for tests."""

    folder: Path

    field = staticmethod(field)
    blob = staticmethod(blob)
    double_blob = staticmethod(double_blob)
    unpacked = staticmethod(unpacked)
    packed_dims = staticmethod(packed_dims)
    old_sides = staticmethod(old_sides)
    layer = staticmethod(layer)
    model = staticmethod(model)
    prototxt = staticmethod(prototxt)
    random_weights = staticmethod(random_weights)

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def caffe(tmp_path: Path) -> CaffeWriter:
    return CaffeWriter(tmp_path)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Array]]]:
    """A whole model of random weights in the old style, as the published ones, and its truth."""
    weights = random_weights()
    path = tmp_path_factory.mktemp("published") / "color.caffemodel"
    path.write_bytes(model(weights, "old"))
    return path, weights
