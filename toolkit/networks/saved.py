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


def fingerprint(weights: Mapping[str, "Tensor"], preprocessing: Preprocessing) -> str:
    """SHA-256 over the preprocessing and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(preprocessing.as_json(), sort_keys=True).encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save_model(network: EmbeddingNetwork, folder: Path, lineage: Mapping[str, Any]) -> ModelCard:
    """Write FOLDER/model.safetensors and FOLDER/model.json. Raises StorageError."""
    from safetensors.torch import save

    weights = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    card = ModelCard(
        backbone=network.backbone_name,
        dim=network.dim,
        preprocessing=network.preprocessing,
        fingerprint=fingerprint(weights, network.preprocessing),
        lineage=lineage,
    )
    # Not save_file: what it raises on a full disk is no OSError.
    write_bytes(folder / WEIGHTS_NAME, save(weights))
    card.write(folder)
    return card


def load_model(folder: Path) -> tuple[EmbeddingNetwork, ModelCard]:
    """Read what save_model wrote; the network comes in evaluation mode, on the CPU.

    Raises MismatchError when a file is missing or damaged, or the two do not belong
    together (the fingerprint is computed again).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card = ModelCard.read(folder)
    path = folder / WEIGHTS_NAME
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise MismatchError(f"{path} is no readable weights file: {error}.") from error
    if fingerprint(weights, card.preprocessing) != card.fingerprint:
        raise MismatchError(
            f"{path} does not hold the weights that model.json describes.",
            mend="Take both files from the same run, or train again.",
        )
    return _build(card, weights, path).eval(), card


def _build(card: ModelCard, weights: Mapping[str, "Tensor"], path: Path) -> EmbeddingNetwork:
    mean = weights.get("preprocess.mean")
    mean_image = mean is not None and mean.dim() == 3 and mean.shape[-1] != 1
    try:
        network = EmbeddingNetwork(
            card.backbone, card.preprocessing, card.dim, mean_image=mean_image
        )
        network.load_state_dict(weights)
    except UsageError as error:  # a backbone that this vr does not know
        raise MismatchError(
            f"{path.parent} cannot be opened: {error.problem}", mend="Use the vr that wrote it."
        ) from error
    except RuntimeError as error:
        raise MismatchError(f"{path} does not fit the backbone {card.backbone}: {error}") from error
    return network
