"""Checkpoints: everything a run needs to go on, in one file that loads without pickle."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import MismatchError
from toolkit.workspace import write_bytes

VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `step` steps.

    The rate, the order of the pairs and the augmentation are functions of (seed, step), so
    the step is their state; torch_rng is kept for backbones that draw on their own.
    """

    step: int
    best_recall: float
    model: dict[str, Any]
    optimizer: dict[str, Any]
    settings: dict[str, Any]
    data_digest: str
    torch_rng: torch.Tensor


def save_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Write a checkpoint atomically: a crash leaves the old one or the new. StorageError."""
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    # In memory first: torch's own writer does not say that the disk is full.
    buffer = io.BytesIO()
    torch.save({"version": VERSION, **content}, buffer)
    write_bytes(target, buffer.getvalue())


def load_checkpoint(source: Path) -> Checkpoint:
    """Read a checkpoint with weights_only=True. Raises MismatchError."""
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file trips the restricted unpickler anywhere
        raise MismatchError(
            f"{source} is no readable checkpoint: {error}",
            mend="Take another checkpoint, or train again.",
        ) from error
    if not isinstance(content, dict) or content.pop("version", None) != VERSION:
        raise MismatchError(
            f"{source} is no checkpoint of version {VERSION}.", mend="Use the vr that wrote it."
        )
    try:
        return Checkpoint(**content)
    except TypeError as error:
        raise MismatchError(f"{source} is no whole checkpoint: {error}.") from error
