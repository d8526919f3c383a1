"""The proof set: held-out patches, and what the trained network made of them.

It travels with the bundle, so that the proof can be repeated where neither torch nor the
run nor its patches are. The patches are PNG files in one tensor: no loss, and about a third
of the plain pixels.
"""

import io
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle, check_file
from deploy.proof.parity import Pairs, Tracks, check_pairs
from toolkit.embedding import Embedder
from toolkit.errors import ImageError, MismatchError
from toolkit.images import decode_image
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing
from toolkit.transfer.head import ClassifierHead
from toolkit.workspace import write_bytes

MAX_PAIRS = 512
MAX_PIXEL_BYTES = 256 * 1024 * 1024  # of all patches, unpacked: large inputs are proven on fewer
MAX_FILE_BYTES = 512 * 1024 * 1024
_PNG_LEVEL = 3  # the next levels take twice the time and win 2 percent
_FINGERPRINT = "fingerprint"
_FLAT = "flat"  # these need not be there
_CLASSES = ("probabilities", "labels")
_DTYPES = {
    "ends": np.int64,
    "patches": np.uint8,
    "reference": np.float32,
    "tracks": np.int64,
    _FLAT: np.float32,
    "probabilities": np.float32,
    "labels": np.int64,
}
_OPTIONAL = frozenset({_FLAT, *_CLASSES})


@dataclass(frozen=True, slots=True)
class ProofSet:
    """queries, positives: uint8 RGB (N, height, width, 3); reference: of both, (N, dim).

    tracks: (N,), the same number for pairs of the same track. flat: as reference, of the
    network with its mean image flattened, which is what a dense graph is made of; None
    without a mean image or a dense graph. classes: of a classifier, what it made of both,
    float32 (2N, classes), and the classes that they are of, (2N,).
    """

    queries: NDArray[np.uint8]
    positives: NDArray[np.uint8]
    reference: Pairs
    tracks: Tracks
    flat: Pairs | None = None
    classes: "tuple[NDArray[np.float32], NDArray[np.int64]] | None" = None

    def with_classes(self, head: ClassifierHead, labels: NDArray[np.int64]) -> "ProofSet":
        """With what a classifier makes of the reference; labels: of both, (2N,)."""
        return replace(self, classes=(head.probabilities(np.concatenate(self.reference)), labels))

    def with_flat(self, flat: Embedder) -> "ProofSet":
        """With what the flattened network makes of the patches."""
        return replace(self, flat=self.embed(flat))

    def embed(self, candidate: Embedder) -> Pairs:
        """What another embedder makes of the patches."""
        return candidate.embed(self.queries), candidate.embed(self.positives)


def most_pairs(spec: Preprocessing) -> int:
    """How many pairs of this input size a proof set holds at most."""
    return max(1, min(MAX_PAIRS, MAX_PIXEL_BYTES // (6 * spec.height * spec.width)))


def make_proof(
    reference: Embedder,
    queries: NDArray[np.uint8],
    positives: NDArray[np.uint8],
    tracks: Tracks | None = None,
) -> ProofSet:
    """Embed pairs, uint8 RGB (N, height, width, 3), with the trained network.

    tracks: of each pair, None where every pair is a track of its own. N is at least 1; of
    more than `most_pairs` some are taken, evenly. Raises InputError.
    """
    check_pairs(queries, positives)
    count = min(len(queries), most_pairs(reference.card.preprocessing))
    chosen = np.arange(count) * len(queries) // count
    queries, positives = queries[chosen], positives[chosen]
    own = np.arange(count) if tracks is None else tracks[chosen]
    embedded = reference.embed(queries), reference.embed(positives)
    return ProofSet(queries, positives, embedded, own)


def write_proof(proof: ProofSet, card: ModelCard, target: Path) -> None:
    """Write a proof set; the same one gives the same bytes. Raises StorageError."""
    from safetensors.numpy import save

    files = [_encode(image) for image in (*proof.queries, *proof.positives)]
    tensors = {
        "ends": np.cumsum([len(file) for file in files], dtype=np.int64),
        "patches": np.frombuffer(b"".join(files), np.uint8),
        "reference": np.concatenate(proof.reference).astype(np.float32),
        "tracks": proof.tracks.astype(np.int64),
    }
    if proof.flat is not None:
        tensors[_FLAT] = np.concatenate(proof.flat).astype(np.float32)
    if proof.classes is not None:
        tensors |= dict(zip(_CLASSES, proof.classes, strict=True))
    # One entry of metadata only: safetensors writes several in no fixed order.
    write_bytes(target, save(tensors, {_FINGERPRINT: card.fingerprint}))


def _encode(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def read_proof(bundle: Bundle) -> ProofSet:
    """The proof set of a bundle. Raises MismatchError where it is missing, damaged or foreign."""
    path = bundle.proof
    if not bundle.proof_sha256:
        raise MismatchError(
            f"The bundle {bundle.folder} carries no proof set.",
            mend="Export it again with `vr export`; bundles of older versions have none.",
        )
    if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
        raise MismatchError(f"{path} is no proof set: it has more than {MAX_FILE_BYTES:,} bytes.")
    check_file(path, bundle.proof_sha256)
    try:
        return _parse(path, bundle.card, len(bundle.classes))
    except (ImageError, KeyError, TypeError, ValueError) as error:
        raise MismatchError(
            f"{path} is no proof set of this network: {error}",
            mend="Copy the whole bundle again, or export it again with `vr export`.",
        ) from error


def _parse(path: Path, card: ModelCard, classes: int) -> ProofSet:
    tensors = _load(path, card)
    count = len(tensors["ends"])
    if count < 2 or count % 2 or count > 2 * MAX_PAIRS:
        raise ValueError(f"it has {count} patches.")
    embeddings = dict.fromkeys(("reference", _FLAT), (count, card.dim))
    shapes = {**embeddings, "probabilities": (count, classes), "labels": (count,)}
    _check_tensors(tensors, {**shapes, "tracks": (count // 2,)})
    named = tuple(tensors[name] for name in _CLASSES if name in tensors)
    if len(named) != (2 if classes else 0):
        raise ValueError("it fits no classifier of these classes.")
    files = _cut(tensors["patches"].tobytes(), tensors["ends"].tolist())
    images, reference, half = _decode(files, card), tensors["reference"], count // 2
    embedded = reference[:half], reference[half:]
    flat = (tensors[_FLAT][:half], tensors[_FLAT][half:]) if _FLAT in tensors else None
    both = (named[0], named[1]) if named else None
    return ProofSet(images[:half], images[half:], embedded, tensors["tracks"], flat, both)


def _check_tensors(tensors: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != _DTYPES[name] or tensor.shape != shapes.get(name, (tensor.size,)):
            raise ValueError(f"its {name} is {tensor.dtype} {tensor.shape}.")


def _cut(content: bytes, ends: list[int]) -> list[bytes]:
    edges = [0, *ends]
    if edges != sorted(edges) or edges[-1] != len(content):
        raise ValueError("its patches do not fill it.")
    return [content[start:end] for start, end in pairwise(edges)]


def _load(path: Path, card: ModelCard) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            if (stream.metadata() or {}).get(_FINGERPRINT) != card.fingerprint:
                raise ValueError("it was made with another network.")
            there = set(stream.keys())
            wanted = [name for name in _DTYPES if name not in _OPTIONAL or name in there]
            return {name: stream.get_tensor(name) for name in wanted}
    except SafetensorError as error:
        raise ValueError(f"{error}.") from error


def _decode(files: list[bytes], card: ModelCard) -> NDArray[np.uint8]:
    spec = card.preprocessing
    images = np.empty((len(files), spec.height, spec.width, 3), np.uint8)
    for place, content in enumerate(files):
        image = decode_image(content, name=f"patch {place}")
        if image.shape != images.shape[1:]:
            raise ValueError(f"patch {place} is of {image.shape}, not {images.shape[1:]}.")
        images[place] = image
    return images
