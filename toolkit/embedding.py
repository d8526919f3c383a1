"""The one protocol behind which every runtime stands."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage
from toolkit.model_card import ModelCard

Embeddings = NDArray[np.float32]  # (N, dim), each row of length 1


@runtime_checkable
class Embedder(Protocol):
    """Turns pictures into vectors; what runs underneath is its own business."""

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

        N may be 0 and may be larger than fits at once; rows are L2-normalised.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; a closed embedder is not used again."""
        ...


def embed_images(embedder: Embedder, images: list[RgbImage]) -> Embeddings:
    """Fit pictures of any size to the network's input and embed them, (N, dim)."""
    return embedder.embed(embedder.card.preprocessing.fit_batch(images))
