"""A network at rest: model.safetensors beside model.json. Nothing is unpickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import MismatchError, UsageError
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Preprocessing
from toolkit.workspace import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_NAME = "model.safetensors"


def fingerprint(
    weights: Mapping[str, "Tensor"],
    preprocessing: Preprocessing,
    architecture: Mapping[str, Any] | None = None,
) -> str:
    """SHA-256 over the preprocessing and every tensor's name, type, shape and bytes.

    So is the architecture, where there is one: the same weights compute other things in it.
    """
    digest = hashlib.sha256(json.dumps(preprocessing.as_json(), sort_keys=True).encode())
    if architecture:
        digest.update(json.dumps(dict(architecture), sort_keys=True).encode())
    _add_tensors(digest, weights)
    return digest.hexdigest()


def tensors_digest(tensors: Mapping[str, "Tensor"]) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256()
    _add_tensors(digest, tensors)
    return digest.hexdigest()


def _add_tensors(digest: "hashlib._Hash", tensors: Mapping[str, "Tensor"]) -> None:
    import torch

    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.dtype == torch.bfloat16:  # NumPy has no such type
            tensor = tensor.view(torch.int16)
        digest.update(tensor.numpy().tobytes())


def save_model(network: EmbeddingNetwork, folder: Path, lineage: Mapping[str, Any]) -> ModelCard:
    """Write FOLDER/model.safetensors and FOLDER/model.json. Raises StorageError."""
    from safetensors.torch import save

    weights = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    card = ModelCard(
        backbone=network.backbone_name,
        dim=network.dim,
        preprocessing=network.preprocessing,
        fingerprint=fingerprint(weights, network.preprocessing, network.architecture),
        lineage=lineage,
        architecture=network.architecture,
    )
    # Not save_file: what it raises on a full disk is no OSError.
    write_bytes(folder / WEIGHTS_NAME, save(weights))
    card.write(folder)
    return card


def load_model(folder: Path) -> tuple[EmbeddingNetwork, ModelCard]:
    """Read what save_model wrote; the network comes in evaluation mode, on the CPU.

    Neither a network connection nor anything outside the folder is needed. Raises
    MismatchError when a file is missing or damaged, or the two do not belong together (the
    fingerprint is computed again), MissingError where a backbone's package is not there.
    """
    weights, card = read_saved(folder)
    return _build(card, weights, folder / WEIGHTS_NAME).eval(), card


def read_saved(folder: Path) -> "tuple[dict[str, Tensor], ModelCard]":
    """The weights that save_model wrote, checked against their card. Raises MismatchError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card = ModelCard.read(folder)
    path = folder / WEIGHTS_NAME
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise MismatchError(f"{path} is no readable weights file: {error}.") from error
    if fingerprint(weights, card.preprocessing, card.architecture) != card.fingerprint:
        raise MismatchError(
            f"{path} does not hold the weights that model.json describes.",
            mend="Take both files from the same run, or train again.",
        )
    return weights, card


def _build(card: ModelCard, weights: Mapping[str, "Tensor"], path: Path) -> EmbeddingNetwork:
    mean = weights.get("preprocess.mean")
    mean_image = mean is not None and mean.dim() == 3 and mean.shape[-1] != 1
    try:
        network = EmbeddingNetwork(
            card.backbone,
            card.preprocessing,
            card.dim,
            mean_image=mean_image,
            architecture=card.architecture,
        )
        network.load_state_dict(weights)
    except UsageError as error:  # a backbone that this vr does not know
        raise MismatchError(
            f"{path.parent} cannot be opened: {error.problem}", mend=_writer(card)
        ) from error
    except RuntimeError as error:
        raise MismatchError(
            f"{path} does not fit the backbone {card.backbone}: {error}", mend=_writer(card)
        ) from error
    return network


def _writer(card: ModelCard) -> str:
    package = card.architecture.get("package")
    return f"Use the vr that wrote it{f', with {package}' if package else ''}."
