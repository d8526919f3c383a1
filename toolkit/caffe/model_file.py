"""A .caffemodel: the layers of a network and their weights, in the three spellings of Caffe.

NetParameter holds `layer` (since 2014), `layers` (V1LayerParameter), or `layers` around a
`layer` (V0LayerParameter). Only names, types and weights are read; the rest of a layer is
training's business, or stands in the prototxt.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.caffe.blobs import read_blob
from toolkit.caffe.files import read_file
from toolkit.caffe.wire import WireError, fields
from toolkit.errors import InputError

MOST_BYTES = 2**31 - 1  # a protocol buffer cannot be longer
MOST_LAYERS = 10_000
_V1_LAYERS, _LAYER = 2, 100


@dataclass(frozen=True, slots=True)
class _Spelling:
    """The field numbers of a layer; inner: where V1 keeps a layer of V0, else 0."""

    name: int
    type: int
    blobs: int
    inner: int = 0


_NEW = _Spelling(name=1, type=2, blobs=7)
_V1 = _Spelling(name=4, type=5, blobs=6, inner=1)
_V0 = _Spelling(name=1, type=2, blobs=50)


@dataclass(frozen=True, slots=True, eq=False)
class CaffeLayer:
    """One layer; type is a name, or the number of a type of V1; blobs: its weights, float32."""

    name: str
    type: str
    blobs: tuple[NDArray[np.float32], ...]


def read_caffemodel(path: Path) -> list[CaffeLayer]:
    """Every layer of a .caffemodel, in the order of the file.

    Memory is bounded by the size of the file. Raises InputError for a file that is missing,
    cut, or something else.
    """
    content = memoryview(read_file(path, ".caffemodel", MOST_BYTES))
    try:
        layers = list(_layers(content))
    except WireError as error:
        raise InputError(
            f"{path} is no whole .caffemodel: {error}.", mend="Give a whole .caffemodel."
        ) from error
    if not layers:
        raise InputError(
            f"{path} is no .caffemodel: it holds no layers.", mend="Give a file of weights."
        )
    return layers


def _layers(content: memoryview) -> Iterator[CaffeLayer]:
    count = 0
    for item in fields(content):
        if item.number not in (_V1_LAYERS, _LAYER):
            continue
        count += 1
        if count > MOST_LAYERS:
            raise WireError(f"it has more than {MOST_LAYERS:,} layers")
        try:
            yield _layer(item.message(), _NEW if item.number == _LAYER else _V1)
        except WireError as error:
            raise WireError(f"in layer {count}, {error}") from error


def _layer(message: memoryview, spelling: _Spelling) -> CaffeLayer:
    name, kind = "", ""
    blobs: list[NDArray[np.float32]] = []
    for item in fields(message):
        if item.number == spelling.inner and spelling.inner:
            return _layer(item.message(), _V0)
        if item.number == spelling.name:
            name = item.text()
        elif item.number == spelling.type:
            kind = str(item.value) if isinstance(item.value, int) else item.text()
        elif item.number == spelling.blobs:
            blobs.append(read_blob(item.message()))
    return CaffeLayer(name, kind, tuple(blobs))
