"""model.json: what a trained or exported network is. It lies beside the weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from toolkit.errors import MismatchError, UsageError
from toolkit.preprocess import Preprocessing
from toolkit.workspace import read_json, write_json

FILE_NAME = "model.json"
MAX_DIM = 65_536  # a card that claims a longer embedding is damaged


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The identity of a network.

    dim: length of an embedding; fingerprint: SHA-256 over weights and preprocessing, the
    same for a run and for every bundle exported from it; lineage: where it comes from
    (run, recipe, step, hash of the training data), for people and for `vr explain`;
    architecture: what a backbone of another package is built of, else empty.
    """

    backbone: str
    dim: int
    preprocessing: Preprocessing
    fingerprint: str
    lineage: Mapping[str, Any]
    architecture: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As it stands in model.json."""
        return {
            "version": 1,
            "backbone": self.backbone,
            "dim": self.dim,
            "preprocessing": self.preprocessing.as_json(),
            "fingerprint": self.fingerprint,
            "lineage": dict(self.lineage),
            **({"architecture": dict(self.architecture)} if self.architecture else {}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str) -> Self:
        """The inverse of as_json; `source` is for the message. Raises MismatchError."""
        if content.get("version") != 1:
            raise MismatchError(
                f"{source} has version {content.get('version')!r}; this vr reads version 1.",
                mend="Use the vr that wrote it, or write it again with this one.",
            )
        try:
            card = cls(
                backbone=str(content["backbone"]),
                dim=int(content["dim"]),
                preprocessing=Preprocessing.from_json(content["preprocessing"]),
                fingerprint=str(content["fingerprint"]),
                lineage=dict(content["lineage"]),
                architecture=dict(content.get("architecture", {})),
            )
        except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
            raise MismatchError(f"{source} is no model card: {error!r}.") from error
        if not 1 <= card.dim <= MAX_DIM:
            raise MismatchError(f"{source} is no model card: no embedding has {card.dim} numbers.")
        if not math.isfinite(card.preprocessing.scale):
            raise MismatchError(f"{source} is no model card: scale is {card.preprocessing.scale}.")
        return card

    def write(self, folder: Path) -> None:
        """Write FOLDER/model.json. Raises StorageError."""
        write_json(folder / FILE_NAME, self.as_json())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read FOLDER/model.json. Raises MismatchError."""
        path = folder / FILE_NAME
        return cls.from_json(read_json(path, "model card"), str(path))
