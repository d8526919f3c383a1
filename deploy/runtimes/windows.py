"""The dense graph of a bundle as what fills and searches an index: one kind of vectors.

A window is not the same as the window cut out (see `deploy.runtimes.dense`). So everything
that goes through here is a window, or is made to look like one, and the card has a
fingerprint of its own: an index of windows takes nothing else, and no other index takes these.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import read_bundle
from deploy.runtimes import Runtime, open_embedder
from deploy.runtimes.dense import TILE_SIDE, DenseEmbedder
from deploy.runtimes.session import SessionSettings
from toolkit.embedding import WINDOWS_OF, Embedder, Embeddings, Windows
from toolkit.errors import UsageError
from toolkit.images import RgbImage
from toolkit.model_card import ModelCard
from toolkit.networks.dense_grid import Grid

_KIND = "dense windows 1"  # to be counted up when the vectors change


class DenseWindows:
    """Windows of pictures, and patches as if they were; a `toolkit.embedding.WindowEmbedder`.

    Takes the dense embedder over and closes it.
    """

    def __init__(self, dense: DenseEmbedder) -> None:
        self._dense = dense
        self._card = windows_card(dense.card, dense.grid)

    @property
    def card(self) -> ModelCard:
        """The network's, but for the fingerprint and the lineage."""
        return self._card

    @property
    def runtime(self) -> str:
        """For people: "onnxruntime cpu, dense"."""
        return self._dense.runtime

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        """Patches as if they were windows: uint8 (N, height, width, 3) to float32 (N, dim)."""
        return self._dense.embed_as_windows(images)

    def windows_of(self, image: RgbImage) -> Iterator[Windows]:
        """All windows of a picture, a tile at a time, so that memory stays bounded.

        The picture goes on beyond its right and lower border as its last pixels are, for less
        than a stride, so that no pixel is left out; boxes end with the picture. Raises
        ValueError, ClosedEmbedderError.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image must be uint8 (height, width, 3), not {image.shape}")
        height, width = image.shape[:2]
        if height < self._dense.grid.height or width < self._dense.grid.width:
            whole = np.array([[0, 0, width, height]], np.float32)
            yield Windows(self.embed(self._card.preprocessing.fit_batch([image])), whole)
            return
        beyond = _beyond(self._dense.grid, height, width)
        wide = np.pad(image, (*beyond, (0, 0)), mode="edge") if np.any(beyond) else image
        for found in self._dense.embed_tiles(wide, TILE_SIDE):
            boxes = found.boxes.reshape(-1, 4)
            np.minimum(boxes, (width, height, width, height), out=boxes)
            yield Windows(found.vectors.reshape(-1, self._card.dim), boxes)

    def close(self) -> None:
        """Free the session and its memory."""
        self._dense.close()


def _beyond(grid: Grid, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """How much to add to a picture, ((above, below), (left, right)), for windows to cover it."""
    below, right = (height - grid.height) % grid.stride, (width - grid.width) % grid.stride
    return (0, -below % grid.stride), (0, -right % grid.stride)


def windows_card(card: ModelCard, grid: Grid) -> ModelCard:
    """The card of a network's windows.

    Its fingerprint follows from the network's and from where windows lie: whoever exports the
    same network gets the same one, on any machine.
    """
    what = json.dumps([_KIND, card.fingerprint, grid.as_json()], sort_keys=True)
    fingerprint = hashlib.sha256(what.encode()).hexdigest()
    return replace(
        card, fingerprint=fingerprint, lineage={**card.lineage, WINDOWS_OF: card.fingerprint}
    )


def are_windows(card: ModelCard) -> bool:
    """Whether a card, such as an index's, is that of windows."""
    return WINDOWS_OF in card.lineage


def open_windows(
    model: Path,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    *,
    quick: bool = False,
) -> Embedder:
    """Open a bundle's dense graph, which ONNX Runtime runs, as a WindowEmbedder.

    Raises UsageError for another runtime, InputError for a bundle without a dense graph,
    MismatchError for damaged files, MissingError where what was asked for is not there.
    """
    if runtime not in ("auto", "onnx"):
        raise UsageError(
            f"Dense features are not computed by the runtime {runtime}.",
            mend="Leave --runtime out, or use --runtime onnx.",
        )
    settings = SessionSettings(device, threads, quick)
    return DenseWindows(DenseEmbedder(read_bundle(model), settings))


def open_matching(
    card: ModelCard,
    model: Path,
    runtime: Runtime = "auto",
    device: str = "auto",
    threads: int | None = None,
    *,
    quick: bool = False,
) -> Embedder:
    """Open a model as the vectors of `card` are made, such as those of an index: plain or dense.

    Whether it is the very model is for the caller to check. Raises what `open_windows` and
    `open_embedder` raise.
    """
    if are_windows(card):
        return open_windows(model, runtime, device, threads, quick=quick)
    return open_embedder(model, runtime, device, threads, quick=quick)
