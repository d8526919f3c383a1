"""Checkpoints: everything a run needs to go on, in one file that loads without pickle."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import MismatchError
from toolkit.workspace import atomic_file

VERSION = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `step` steps.

    The rate, the order of the pairs and the augmentation are functions of (seed, step), so
    the step is their state; torch_rng is kept for backbones that draw on their own. ema: the
    averaged weights, {} where none are kept.
    """

    step: int
    best_recall: float
    model: dict[str, Any]
    ema: dict[str, Any]
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
    with atomic_file(target) as draft:
        draft.write_bytes(buffer.getbuffer())


def load_checkpoint(source: Path) -> Checkpoint:
    """Read a checkpoint with weights_only=True. Raises MismatchError."""
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file trips the restricted unpickler anywhere
        raise MismatchError(
            f"{source} is no readable checkpoint: {error}",
            mend="Take another checkpoint, or train again.",
        ) from error
    version = content.pop("version", None) if isinstance(content, dict) else None
    if version != VERSION:
        raise MismatchError(
            f"{source} is no checkpoint of version {VERSION}"
            + (f" but of version {version}." if isinstance(version, int) else "."),
            mend="Go on with the vr that wrote it, or train again.",
        )
    try:
        return Checkpoint(**content)
    except TypeError as error:
        raise MismatchError(f"{source} is no whole checkpoint: {error}.") from error
