"""The one protocol behind which every runtime stands."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

Embeddings = NDArray[np.float32]  # (N, dim), each row of length 1


@runtime_checkable
class Embedder(Protocol):
    """Turns pictures into vectors; what runs underneath is its own business.

    Many threads may share one. Batches, padding and warming up are handled inside.
    """

    @property
    def card(self) -> ModelCard:
        """The identity of the network: dimension, input size, fingerprint."""
        ...

    @property
    def runtime(self) -> str:
        """What runs it and where, for people: "torch cpu", "onnxruntime cpu"."""
        ...

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        """uint8 RGB (N, height, width, 3) of the card's size to float32 (N, dim).

        N may be 0 and may be larger than fits at once; rows are L2-normalised. The array
        may be a view, and read-only. Raises ValueError for another dtype or shape,
        ClosedEmbedderError once it is closed.
        """
        ...

    def close(self) -> None:
        """Give back what it holds. Another thread that embeds gets a ClosedEmbedderError."""
        ...


class ClosedEmbedderError(RuntimeError):
    """An embedder was used after `close`: a mistake of the program, not of its user."""

    def __init__(self) -> None:
        super().__init__("this embedder is closed")


def check_images(images: NDArray[np.uint8], preprocessing: Preprocessing) -> None:
    """Raises ValueError for what is no uint8 array (N, height, width, 3) of this size."""
    expected = (preprocessing.height, preprocessing.width, 3)
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise ValueError(
            f"images must be uint8 (N, {expected[0]}, {expected[1]}, 3), "
            f"not {images.dtype} {images.shape}; fit them with card.preprocessing.fit_batch"
        )


def chunks(count: int, size: int) -> Iterator[slice]:
    """The rows 0 to `count`, at most `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def embed_images(embedder: Embedder, images: list[RgbImage]) -> Embeddings:
    """Fit pictures of any size to the network's input and embed them, (N, dim)."""
    return embedder.embed(embedder.card.preprocessing.fit_batch(images))
