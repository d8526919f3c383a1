"""Where the weights lie in an ONNX file, so that a runtime can map them instead of copying.

Before it runs anything ONNX Runtime copies the weights inside a model several times; those
in a file of their own it maps. A graph may name a part of any file for a weight, and so a
part of the model file itself: `without_weights` makes that graph. What is mapped has to
begin at a multiple of a number's size, which `aligned` sees to.
"""

from toolkit.caffe.wire import BYTES, VARINT, Field, WireError, fields

ALIGNMENT = 64  # bytes: a cache line; no number and no vector register needs more
LEAST = 1024  # bytes: smaller ones stay in the graph, where shapes are inferred from them

# The numbers of the fields, as in onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_RAW_DATA, _DOC_STRING, _EXTERNAL_DATA, _DATA_LOCATION = 9, 12, 13, 14
_KEY, _VALUE, _EXTERNAL = 1, 2, 1

_Pieces = list[bytes | memoryview]


class OtherFileError(Exception):
    """A graph takes a weight from another file."""


def aligned(content: bytes) -> bytes:
    """The same model with each large weight at a multiple of 64 bytes of the file.

    The room in front of a weight is a description of blanks. Raises WireError for what is
    no ONNX model.
    """
    width = 0  # of the graph's length, which stands in front of it and so moves all weights
    while True:
        pieces: _Pieces = []
        found = width
        for field in fields(memoryview(content)):
            if field.number != _MODEL_GRAPH:
                pieces += _copied(field)
                continue
            graph = _aligned_graph(field.message(), _size(pieces) + 1 + width)
            found = len(_varint(_size(graph)))
            pieces += [_head(_MODEL_GRAPH, _size(graph), width), *graph]
        if found <= width:
            return b"".join(pieces)
        width = found


def _aligned_graph(graph: memoryview, place: int) -> _Pieces:
    """`place`: where the graph begins in the file."""
    pieces: _Pieces = []
    for field in fields(graph):
        raw = _large_weight(field)
        added = _copied(field) if raw is None else _aligned_tensor(field.message(), place)
        pieces += added
        place += _size(added)
    return pieces


def _aligned_tensor(tensor: memoryview, place: int) -> _Pieces:
    kept: _Pieces = []
    for field in fields(tensor):
        if field.number == _RAW_DATA:
            raw = field.bytes()
        elif field.number != _DOC_STRING or field.text().strip(" "):
            kept += _copied(field)
    for blanks in range(2 * ALIGNMENT):
        inner = [*kept, *_bytes_field(_DOC_STRING, b" " * blanks), _head(_RAW_DATA, len(raw))]
        outer = _head(_GRAPH_INITIALIZER, _size(inner) + len(raw))
        if (place + len(outer) + _size(inner)) % ALIGNMENT == 0:
            break
    return [outer, *inner, raw]


def without_weights(content: memoryview, name: str) -> bytes | None:
    """The model with its large weights as parts of the file `name`, which holds `content`.

    None where a weight is not aligned, as in files that other programs wrote. Raises
    WireError for what is no ONNX model, OtherFileError for one that is not whole by itself.
    """
    pieces: _Pieces = []
    for field in fields(content):
        if field.number != _MODEL_GRAPH:
            pieces += _copied(field)
            continue
        graph: _Pieces = []
        for inner in fields(field.message()):
            if _is_elsewhere(inner):
                raise OtherFileError
            raw = _large_weight(inner)
            if raw is None:
                graph += _copied(inner)
                continue
            offset = _offset(content, raw)
            if offset % ALIGNMENT:
                return None
            graph += _external_tensor(inner.message(), name, (offset, len(raw)))
        pieces += _message(_MODEL_GRAPH, graph)
    return b"".join(pieces)


def _external_tensor(tensor: memoryview, name: str, part: tuple[int, int]) -> _Pieces:
    kept: _Pieces = []
    for field in fields(tensor):
        if field.number not in (_RAW_DATA, _DOC_STRING):
            kept += _copied(field)
    offset, length = part
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
        entry = [*_bytes_field(_KEY, key.encode()), *_bytes_field(_VALUE, value.encode())]
        kept += _message(_EXTERNAL_DATA, entry)
    kept += [_varint(_DATA_LOCATION << 3 | VARINT), _varint(_EXTERNAL)]
    return _message(_GRAPH_INITIALIZER, kept)


def _large_weight(field: Field) -> memoryview | None:
    """The raw numbers of an initializer, if it has them and they are many."""
    if field.number != _GRAPH_INITIALIZER or len(field.message()) < LEAST:
        return None
    for inner in fields(field.message()):
        if inner.number == _RAW_DATA and len(inner.bytes()) >= LEAST:
            return inner.bytes()
    return None


def _is_elsewhere(field: Field) -> bool:
    if field.number != _GRAPH_INITIALIZER:
        return False
    return any(
        inner.number == _DATA_LOCATION and inner.value == _EXTERNAL
        for inner in fields(field.message())
    )


def _offset(content: memoryview, part: memoryview) -> int:
    import numpy as np

    first, start = (np.frombuffer(view, np.uint8).ctypes.data for view in (part, content))
    return int(first - start)


def _copied(field: Field) -> _Pieces:
    if isinstance(field.value, int):
        return [_varint(field.number << 3 | VARINT), _varint(field.value)]
    if field.kind != BYTES:  # no file of ONNX has any where this looks
        raise WireError(f"field {field.number} is of the unexpected kind {field.kind}")
    return _bytes_field(field.number, field.value)


def _bytes_field(number: int, value: bytes | memoryview) -> _Pieces:
    return [_head(number, len(value)), value]


def _message(number: int, pieces: _Pieces) -> _Pieces:
    return [_head(number, _size(pieces)), *pieces]


def _head(number: int, length: int, width: int = 1) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(length, width)


def _varint(number: int, width: int = 1) -> bytes:
    """At least `width` bytes long: zeros at the end of a number are lawful."""
    done = bytearray()
    while number > 0x7F or len(done) + 1 < width:
        done.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*done, number])


def _size(pieces: _Pieces) -> int:
    return sum(map(len, pieces))
