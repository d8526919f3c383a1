"""BlobProto: an array in a file of Caffe, of the old style (four sides) or the new (a shape)."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from toolkit.caffe.wire import BYTES, FIXED32, FIXED64, VARINT, Field, WireError, fields, varints

MOST_AXES = 32  # as in Caffe
_OLD_SIDES = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8  # 6 and 9 are gradients


@dataclass(slots=True)
class _Parts:
    sides: dict[int, int] = field(default_factory=dict)
    shape: list[int] | None = None
    floats: list[memoryview] = field(default_factory=list)
    doubles: list[memoryview] = field(default_factory=list)


def read_blob(message: memoryview) -> NDArray[np.float32]:
    """The array of a BlobProto, in its own shape. Raises WireError.

    Nothing is allocated by what a shape claims: it has to agree with the values that are
    there. Numbers of double precision are rounded to float32.
    """
    parts = _Parts()
    for item in fields(message):
        _take(parts, item)
    values = _values(parts)
    if parts.shape is not None:
        shape = parts.shape
    elif parts.sides:
        shape = [parts.sides.get(side, 0) for side in _OLD_SIDES]
    else:
        raise WireError(f"an array of {len(values)} values has no shape")
    if len(shape) > MOST_AXES:
        raise WireError(f"an array has {len(shape)} axes")
    if math.prod(shape) != len(values):
        raise WireError(f"an array of shape {'x'.join(map(str, shape))} holds {len(values)} values")
    return values.reshape(shape)


def _take(parts: _Parts, item: Field) -> None:
    if item.number in _OLD_SIDES and item.kind == VARINT:
        assert isinstance(item.value, int)
        parts.sides[item.number] = item.value
    elif item.number == _SHAPE:
        parts.shape = _read_shape(item.message())
    elif item.number == _DATA and item.kind in (BYTES, FIXED32):
        parts.floats.append(item.bytes())
    elif item.number == _DOUBLE_DATA and item.kind in (BYTES, FIXED64):
        parts.doubles.append(item.bytes())


def _read_shape(message: memoryview) -> list[int]:
    shape: list[int] = []
    for item in fields(message):
        if item.number != 1:
            continue
        shape += [item.value] if isinstance(item.value, int) else varints(item.message())
        if len(shape) > MOST_AXES:
            raise WireError(f"an array has more than {MOST_AXES} axes")
    return shape


def _values(parts: _Parts) -> NDArray[np.float32]:
    if parts.floats and parts.doubles:
        raise WireError("an array holds its values twice, in single and in double precision")
    chunks, kind = (parts.doubles, "<f8") if parts.doubles else (parts.floats, "<f4")
    width = np.dtype(kind).itemsize
    if any(len(chunk) % width for chunk in chunks):
        raise WireError("an array ends in the middle of a value")
    arrays = [np.frombuffer(chunk, kind) for chunk in chunks]
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused later
        joined = np.concatenate(arrays) if arrays else np.zeros(0)
        return joined.astype(np.float32)
