"""The linear layer of a classifier at rest: classifier.safetensors beside classifier.json.

It needs no torch, so that an export can put it behind any network's vectors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding import Embeddings
from toolkit.errors import MismatchError
from toolkit.workspace import read_json, sha256_file, write_bytes, write_json

WEIGHTS_NAME, CARD_NAME = "classifier.safetensors", "classifier.json"
MOST_CLASSES = 65_536

Probabilities = NDArray[np.float32]  # (N, classes), rows of sum 1


@dataclass(frozen=True, slots=True)
class ClassifierHead:
    """classes: their names; weights: float32 (classes, dim); biases: float32 (classes,)."""

    classes: tuple[str, ...]
    weights: NDArray[np.float32]
    biases: NDArray[np.float32]

    def probabilities(self, embeddings: Embeddings) -> Probabilities:
        """What the classes are for vectors (N, dim): float32 (N, classes)."""
        scores = embeddings @ self.weights.T + self.biases
        powers = np.exp(scores - scores.max(1, keepdims=True, initial=-np.inf))
        shares: Probabilities = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
        return shares

    def write(self, folder: Path, fingerprint: str, notes: Mapping[str, Any]) -> None:
        """Write both files; fingerprint: of the network whose vectors it takes.

        notes: for people, such as what it was learned from. Raises StorageError.
        """
        from safetensors.numpy import save

        tensors = {"weight": self.weights, "bias": self.biases}
        write_bytes(folder / WEIGHTS_NAME, save(tensors))
        content = {
            "version": 1,
            "classes": list(self.classes),
            "sha256": sha256_file(folder / WEIGHTS_NAME),
            "fingerprint": fingerprint,
            "notes": dict(notes),
        }
        write_json(folder / CARD_NAME, content)

    @classmethod
    def read(cls, folder: Path, fingerprint: str, dim: int) -> Self:
        """The layer of a run's network. Raises MismatchError where it is damaged or foreign."""
        path = folder / WEIGHTS_NAME
        card = read_json(folder / CARD_NAME, "card of a classifier")
        try:
            if card["version"] != 1 or card["fingerprint"] != fingerprint:
                raise ValueError("it belongs to another network or version")
            if sha256_file(path) != card["sha256"]:
                raise ValueError("it is not the file that classifier.json describes")
            return cls._parse(path, check_classes(card["classes"]), dim)
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise MismatchError(
                f"{path} is no classifier of this network: {error}.",
                mend="Take all files from the same run, or run `vr transfer` again.",
            ) from error

    @classmethod
    def _parse(cls, path: Path, classes: tuple[str, ...], dim: int) -> Self:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        weights, biases = tensors["weight"], tensors["bias"]
        shapes = weights.shape, biases.shape
        if shapes != ((len(classes), dim), (len(classes),)) or not (
            weights.dtype == biases.dtype == np.float32
        ):
            raise ValueError(f"its tensors are {shapes}")
        return cls(classes, weights, biases)


def check_classes(names: Any) -> tuple[str, ...]:
    """Names of classes as a JSON file has them. Raises ValueError."""
    if not isinstance(names, list) or not 2 <= len(names) <= MOST_CLASSES:
        raise ValueError("a classifier has 2 classes or more, as a list")
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise ValueError("the names of its classes are no different texts")
    return tuple(names)
