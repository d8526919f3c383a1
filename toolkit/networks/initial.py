"""`--init`: weights to begin from, put into a fresh network, or refused with every reason.

They come from a run (its folder), a `.safetensors` file, a state dict of torch (`.pt`, `.pth`)
or, for a backbone of another package, from a checkpoint of its hub. The body has to fit whole;
the last layer stays fresh where the length of the embedding differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import MismatchError, UsageError
from toolkit.model_card import FILE_NAME
from toolkit.networks.backbones import PublishedWeights, family_of
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import WEIGHTS_NAME, read_saved, tensors_digest
from toolkit.networks.weight_files import FILE_ENDINGS, read_weights_file

_BODY = "backbone."
_INPUT = "preprocess."
_COUNTER = "num_batches_tracked"  # of no influence, and missing in older files
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Initial:
    """What a network began from.

    digest: SHA-256 over the tensors that were loaded; loaded: their names in the network's
    state; fresh: the names of weights that stay as initialised; unused: names of the source
    without a place here.
    """

    source: str
    digest: str
    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As it stands in a run's lineage: the source, the digest and how many tensors."""
        return {
            "source": self.source,
            "digest": self.digest,
            "loaded": len(self.loaded),
            "fresh": list(self.fresh),
            "unused": len(self.unused),
        }


def check_initial(backbone: str, init: str) -> None:
    """Refuse what `load_initial` could not even look for. Reads nothing, asks no hub.

    Raises UsageError.
    """
    path = Path(init).expanduser()
    if path.is_file() and path.suffix not in FILE_ENDINGS:
        raise UsageError(
            f"{init} is no file of weights that can be read.",
            mend=f"Use one of the kinds {', '.join(FILE_ENDINGS)}, or the folder of a run.",
        )
    family = family_of(backbone)
    if path.is_dir() and not (path / WEIGHTS_NAME).is_file():
        if (path / "model.onnx").is_file():
            raise UsageError(
                f"{init} is an exported bundle: an ONNX file cannot be trained further.",
                mend="Name the run that it was exported from.",
            )
        if family is None:
            raise UsageError(
                f"{init} holds no {WEIGHTS_NAME}.", mend="Name the folder of a finished run."
            )
    elif not path.exists() and family is None:
        raise UsageError(
            f"There are no weights at {init}.",
            mend=f"Name a run's folder or a file; only hf:NAME and timm:NAME take a checkpoint's "
            f"name, not {backbone}.",
        )


def load_initial(network: EmbeddingNetwork, init: str) -> Initial:
    """Load published or earlier weights into a network, in place.

    Of a run with the same preprocessing, the mean and deviation are taken over too. Raises
    UsageError for what cannot be found, MismatchError that lists everything that does not fit.
    """
    check_initial(network.backbone_name, init)
    found = _find(network, init)
    state = network.state_dict()
    tensors, misfits, fresh = _match(network, state, found)
    if misfits:
        raise MismatchError(
            f"{init} does not fit the backbone {network.backbone_name}: {_listed(misfits)}.",
            mend="Use the backbone that the weights were made with, or leave out --init. Those of "
            "transformers come as the folder of their checkpoint.",
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
    return Initial(
        init, tensors_digest(tensors), tuple(sorted(tensors)), tuple(fresh), found.unused
    )


def _find(network: EmbeddingNetwork, init: str) -> PublishedWeights:
    """The tensors of a source, by the names of the network's state."""
    path = Path(init).expanduser()
    family = family_of(network.backbone_name)
    if (path / FILE_NAME).is_file():
        return _of_run(network, path)
    if path.is_file():
        return _renamed(network, read_weights_file(path))
    if family is None:  # a folder of somebody else's, with our name of the file
        return _renamed(network, read_weights_file(path / WEIGHTS_NAME))
    found = family.weights(network.backbone, init)
    tensors = {_BODY + name: tensor for name, tensor in found.tensors.items()}
    return PublishedWeights(
        tensors, tuple(_BODY + misfit for misfit in found.misfits), found.unused
    )


def _of_run(network: EmbeddingNetwork, folder: Path) -> PublishedWeights:
    weights, card = read_saved(folder)
    if card.backbone != network.backbone_name and not (card.architecture and network.architecture):
        raise MismatchError(
            f"{folder} holds a network with the backbone {card.backbone}, not "
            f"{network.backbone_name}.",
            mend=f"Use --backbone {card.backbone}, or leave out --init.",
        )
    same_input = card.preprocessing == network.preprocessing
    kept = {n: t for n, t in weights.items() if same_input or not n.startswith(_INPUT)}
    return PublishedWeights(kept, unused=tuple(sorted(set(weights) - set(kept))))


def _renamed(network: EmbeddingNetwork, weights: Mapping[str, Tensor]) -> PublishedWeights:
    """A state dict by the network's names.

    What wraps the file's names (`module.`) is taken off, and so is what wraps those of a body
    from another package here, whichever way most of them are found.
    """
    own = list(network.backbone.state_dict())
    namings = [{name: name for name in own}, {name.removeprefix("body."): name for name in own}]
    found: dict[str, str] = {}  # our name: the file's
    for naming in namings:
        for wrap in _wraps(naming, weights):
            matches = {ours: wrap + bare for bare, ours in naming.items() if wrap + bare in weights}
            found = max(found, matches, key=len)
    tensors = {_BODY + ours: weights[theirs] for ours, theirs in found.items()}
    return PublishedWeights(tensors, unused=tuple(sorted(set(weights) - set(found.values()))))


def _wraps(naming: Mapping[str, str], weights: Mapping[str, Tensor]) -> list[str]:
    """What stands in the file before the name of our first weight, in the file's order."""
    first = next(name for name in naming if name.endswith("weight"))
    ends = [name for name in weights if name.endswith(f".{first}")]
    return ["", *(name.removesuffix(first) for name in ends)]


def _match(
    network: EmbeddingNetwork, state: Mapping[str, Tensor], found: PublishedWeights
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """What can be loaded; what does not fit, in words; what stays as it was initialised."""
    head = f"{_BODY}{network.head_name}."
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    trained |= {name for name, _ in network.named_buffers()}
    tensors, fresh = {}, []
    misfits = list(found.misfits)
    for name, own in state.items():
        tensor = found.tensors.get(name)
        fits = tensor is not None and tensor.shape == own.shape
        if tensor is not None and fits and tensor.is_floating_point() == own.is_floating_point():
            tensors[name] = tensor
        elif name.startswith(_INPUT) or name.endswith(_COUNTER):
            continue
        elif name.startswith(head) or name not in trained:
            fresh.append(name)
        elif tensor is None:
            misfits.append(f"{name} is missing")
        else:
            misfits.append(f"{name}: {tuple(tensor.shape)}, not {tuple(own.shape)}")
    return _whole_head(tensors, fresh, head), misfits, fresh


def _whole_head(tensors: dict[str, Tensor], fresh: list[str], head: str) -> dict[str, Tensor]:
    """Half a head is none: a bias of another layer's making would only disturb."""
    if any(name.startswith(head) for name in fresh):
        half = [name for name in tensors if name.startswith(head)]
        fresh.extend(half)
        return {name: tensor for name, tensor in tensors.items() if name not in half}
    return tensors


def _listed(misfits: list[str]) -> str:
    more = len(misfits) - _MOST_NAMED
    return "; ".join(misfits[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
