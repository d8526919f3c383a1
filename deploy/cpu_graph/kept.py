"""The CPU's form of a bundle's graph, kept in engines/ so that it is made once.

It holds what the rewrites changed; all other weights it takes from the bundle's own file,
so it is small. Like an engine it is a cache: it may be deleted, and one that does not fit
is made anew.
"""

import hashlib
from pathlib import Path
from typing import Any

from toolkit.errors import MismatchError, StorageError
from toolkit.model_card import FILE_NAME
from toolkit.workspace import read_json, sha256_file, write_bytes, write_json

_VERSION = 1  # of the rewrites: what an older one made is made anew
_MOST_BYTES = 64 << 20  # what the rewrites change is a few megabytes
_FOLDER, _SUFFIX = "engines", ".cpu.graph"


def cpu_graph(onnx: Path, graph: bytes, *, make: bool = True) -> bytes:
    """`graph` as ONNX Runtime is fastest at it on the CPU.

    onnx: the file of a bundle; graph: the same with its large weights as parts of that file
    (deploy.onnx.weights.without_weights). make: whether it may be made where it is not kept yet,
    which takes a second; else `graph` comes back. So it does where the file is none of ours.
    """
    key = _key(onnx, graph)
    kept = onnx.parent / _FOLDER / f"{onnx.stem}{_SUFFIX}"
    if key is not None:
        content = _read(kept, key)
        if content is not None:
            return content
    if not make:
        return graph
    made = _rewrite(graph, onnx.resolve().parent)
    if made is None:
        return graph
    if key is not None and _is_whole(onnx):
        _keep(kept, key, made)
    return made


def _key(onnx: Path, graph: bytes) -> str | None:
    """What the rewritten graph depends on; None where the file belongs to no bundle.

    Whoever reads the bundle compares the hash that is written there with the file.
    """
    try:
        card = read_json(onnx.parent / FILE_NAME, "model card")
    except MismatchError:
        return None
    parts = [_VERSION, card.get("onnx_sha256"), card.get("dense"), onnx.name]
    return hashlib.sha256(repr(parts).encode() + graph).hexdigest()


def _is_whole(onnx: Path) -> bool:
    """Whether the file is the one of its model.json.

    The key holds no weights, and what was made of damaged ones must not outlive their repair.
    """
    card = read_json(onnx.parent / FILE_NAME, "model card")
    dense = card.get("dense")
    recorded = [card.get("onnx_sha256"), dense.get("onnx_sha256") if isinstance(dense, dict) else 0]
    return sha256_file(onnx) in recorded


def _read(kept: Path, key: str) -> bytes | None:
    """What is kept, if it is whole and of this key."""
    note = _note(kept)
    try:
        if not kept.is_file() or max(kept.stat().st_size, note.stat().st_size) > _MOST_BYTES:
            return None
        recorded: dict[str, Any] = read_json(note, "description of a graph")
        if recorded.get("key") != key:
            return None
        content = kept.read_bytes()
    except (MismatchError, OSError):  # not there, or damaged: it is made anew
        return None
    return content if recorded.get("sha256") == hashlib.sha256(content).hexdigest() else None


def _keep(kept: Path, key: str, content: bytes) -> None:
    try:
        write_bytes(kept, content)
        write_json(_note(kept), {"key": key, "sha256": hashlib.sha256(content).hexdigest()})
    except StorageError:  # a bundle may lie where nobody can write; then it is not kept
        return


def _note(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.json")


def _rewrite(graph: bytes, folder: Path) -> bytes | None:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import ModelProto
    from onnx.checker import ValidationError
    from onnx.shape_inference import InferenceError

    from deploy.cpu_graph.cpu import for_onnxruntime_cpu

    model = ModelProto()
    try:
        model.ParseFromString(graph)
    except DecodeError:  # ONNX Runtime will say what is wrong with it
        return None
    if model.producer_name != "vr":
        return None
    try:
        rewritten = for_onnxruntime_cpu(model, folder)
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        ValidationError,
        InferenceError,
    ) as error:
        raise MismatchError(
            f"The graph in {folder} is none that vr writes, although it says so: {error!r}.",
            mend="Export it again with `vr export`.",
        ) from error
    return bytes(rewritten.SerializeToString(deterministic=True))
