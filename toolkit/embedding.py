"""The one protocol behind which every runtime stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

Embeddings = NDArray[np.float32]  # (N, dim), each row of length 1

# In the lineage of a WindowEmbedder's card: the fingerprint of the plain network.
WINDOWS_OF = "windows_of"


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


@dataclass(frozen=True, slots=True)
class Windows:
    """Some of the windows of a picture.

    vectors: float32 (N, dim), each of length 1; boxes: float32 (N, 4), xyxy in pixels of
    the picture.
    """

    vectors: Embeddings
    boxes: NDArray[np.float32]


@runtime_checkable
class WindowEmbedder(Embedder, Protocol):
    """An embedder of every window of a picture; `embed` takes patches as if they were such.

    Its vectors are of a kind of their own, and so is the fingerprint of its card: they are
    never compared with those of the plain network.
    """

    def windows_of(self, image: RgbImage) -> Iterator[Windows]:
        """All windows of one picture, uint8 RGB (height, width, 3), some at a time.

        A window has the size of the card's input; together they leave no pixel out. A
        picture that is smaller is one window as a whole. Raises ValueError for another dtype
        or shape, ClosedEmbedderError.
        """
        ...


@runtime_checkable
class Classifier(Protocol):
    """An embedder that can name what it sees, where `classes` is not empty."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none where the network is no classifier."""
        ...

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `embed`, to the probability of each class: float32 (N, classes)."""
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
