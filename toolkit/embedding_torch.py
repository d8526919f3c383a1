"""The Embedder that runs a network with torch, on the CPU or CUDA."""

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.device import resolve_device
from toolkit.embedding import ClosedEmbedderError, Embeddings, check_images, chunks
from toolkit.model_card import ModelCard

if TYPE_CHECKING:
    from toolkit.networks.embedder import EmbeddingNetwork

_CHUNK = 128


class TorchEmbedder:
    """Runs a network in float32; batches of any size are cut into chunks.

    Many threads may share one object: a network in evaluation mode only reads its weights.
    """

    def __init__(self, network: "EmbeddingNetwork", card: ModelCard, device: str = "cpu") -> None:
        self.card = card
        self._device = resolve_device(device)
        self._network: EmbeddingNetwork | None = network.eval().to(self._device)

    @classmethod
    def open(cls, folder: Path, device: str = "auto", threads: int | None = None) -> Self:
        """From the model files of a run. Raises MismatchError or MissingError.

        threads: of torch on the CPU, which has one number of them for the whole process.
        """
        import torch

        from toolkit.networks.saved import load_model

        if threads is not None:
            torch.set_num_threads(threads)
        return cls(*load_model(folder), device)

    @property
    def runtime(self) -> str:
        """For people: "torch cpu" or "torch cuda"."""
        return f"torch {self._device}"

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        """uint8 (N, height, width, 3) to float32 (N, dim); N may be 0.

        Raises ValueError for another dtype or shape, ClosedEmbedderError once it is closed.
        """
        check_images(images, self.card.preprocessing)
        embeddings = np.zeros((len(images), self.card.dim), np.float32)
        self._open_network()
        for rows in chunks(len(images), _CHUNK):
            embeddings[rows] = self._embed_chunk(images[rows])
        return embeddings

    def _embed_chunk(self, images: NDArray[np.uint8]) -> Embeddings:
        import torch

        # torch warns of memory that it must not write to, although it only reads it here.
        writable = np.require(images, requirements=["C", "W"])
        with torch.inference_mode():
            embedded = self._open_network()(torch.from_numpy(writable).to(self._device))
        found: Embeddings = embedded.cpu().numpy()
        return found

    def _open_network(self) -> "EmbeddingNetwork":
        network = self._network
        if network is None:
            raise ClosedEmbedderError
        return network

    def close(self) -> None:
        """Let go of the network; what others hold of it stays."""
        self._network = None
