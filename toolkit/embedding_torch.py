"""The Embedder that runs a network with torch, on the CPU or CUDA."""

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.device import resolve_device
from toolkit.embedding import Embeddings
from toolkit.model_card import ModelCard

if TYPE_CHECKING:
    from toolkit.networks.embedder import EmbeddingNetwork

_CHUNK = 128


class TorchEmbedder:
    """Runs a network in float32; batches of any size are cut into chunks."""

    def __init__(self, network: "EmbeddingNetwork", card: ModelCard, device: str = "cpu") -> None:
        self.card = card
        self._device = resolve_device(device)
        self._network = network.eval().to(self._device)

    @classmethod
    def open(cls, folder: Path, device: str = "auto") -> Self:
        """From the model files of a run. Raises MismatchError or MissingError."""
        from toolkit.networks.saved import load_model

        return cls(*load_model(folder), device)

    @property
    def runtime(self) -> str:
        """For people: "torch cpu" or "torch cuda"."""
        return f"torch {self._device}"

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        """uint8 (N, height, width, 3) to float32 (N, dim); N may be 0."""
        import torch

        embeddings = np.zeros((len(images), self.card.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), _CHUNK):
                chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + _CHUNK]))
                embedded = self._network(chunk.to(self._device))
                embeddings[start : start + _CHUNK] = embedded.cpu().numpy()
        return embeddings

    def close(self) -> None:
        """Nothing is held that the garbage collector does not free."""
