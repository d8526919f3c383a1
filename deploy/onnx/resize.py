"""A trained network at another input size: the same weights, another preprocessing."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import UsageError
from toolkit.model_card import ModelCard

if TYPE_CHECKING:
    from toolkit.networks.embedder import EmbeddingNetwork


def check_size(run: Path, size: int | None) -> ModelCard:
    """The card of a run at an input of size x size; the fingerprint is still the run's.

    None keeps the size of the run. Looks at the files only. Raises UsageError where the
    network has a mean image, which is made for one size; MismatchError for a damaged run.
    """
    card = ModelCard.read(run)
    if size is None or _is(card, size):
        return card
    mean = _mean_shape(run)
    if mean[1:] not in ((), (1, 1)):
        raise _one_size(card, "it takes off a mean image of that size")
    return replace(card, preprocessing=replace(card.preprocessing, height=size, width=size))


def load_at_size(run: Path, size: int | None) -> "tuple[EmbeddingNetwork, ModelCard]":
    """The network of a run and its card, at an input of size x size.

    At another size than the run's the fingerprint is another one, because the vectors are.
    Raises UsageError for a size that the network cannot take, MismatchError, MissingError.
    """
    from toolkit.networks.embedder import EmbeddingNetwork
    from toolkit.networks.saved import fingerprint, load_model

    network, card = load_model(run)
    if size is None or _is(card, size):
        return network, card
    spec = check_size(run, size).preprocessing
    resized = EmbeddingNetwork(card.backbone, spec, card.dim, architecture=card.architecture)
    weights = network.state_dict()
    try:
        resized.load_state_dict(weights)
    except RuntimeError as error:  # tensors whose shape follows the input's
        raise _one_size(card, "some of its weights are made for that size") from error
    made = replace(
        card,
        preprocessing=spec,
        fingerprint=fingerprint(weights, spec, card.architecture),
        lineage={**card.lineage, "resized_from": card.fingerprint},
    )
    return resized.eval(), made


def _is(card: ModelCard, size: int) -> bool:
    return (card.preprocessing.height, card.preprocessing.width) == (size, size)


def _mean_shape(run: Path) -> tuple[int, ...]:
    """Of the mean that the network takes off; empty where the weights cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(run / "model.safetensors", framework="numpy") as stream:
            return tuple(stream.get_slice("preprocess.mean").get_shape())
    except (OSError, SafetensorError):
        return ()  # load_model says what is wrong with them


def _one_size(card: ModelCard, reason: str) -> UsageError:
    spec = card.preprocessing
    return UsageError(
        f"This {card.backbone} only takes an input of {spec.height}x{spec.width} pixels: {reason}.",
        mend="Leave --size out, or train with another `vr train --size`.",
    )
