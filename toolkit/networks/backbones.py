"""The backbones by name. A new one is a module with `DEFAULTS` and `build`, and a line here."""

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from toolkit.errors import UsageError
from toolkit.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn

_MODULES = {
    "alexnet": "toolkit.networks.alexnet",
    "small": "toolkit.networks.small",
}


@dataclass(frozen=True, slots=True)
class BackboneDefaults:
    """What a backbone expects where nothing else is said.

    mean_image: whether the mean over the training patches is taken off (else 0.5).
    """

    preprocessing: Preprocessing
    dim: int
    mean_image: bool


def backbone_names() -> list[str]:
    """The names that `--backbone` takes."""
    return sorted(_MODULES)


def backbone_defaults(name: str) -> BackboneDefaults:
    """The defaults of a backbone. Raises UsageError for an unknown name."""
    return cast(BackboneDefaults, importlib.import_module(_module(name)).DEFAULTS)


def build_backbone(name: str, *, dim: int, height: int, width: int) -> "nn.Module":
    """A freshly initialised backbone: float [B, 3, height, width] to float [B, dim].

    Initialisation draws from torch's global generator. Raises UsageError.
    """
    build = importlib.import_module(_module(name)).build
    return cast("nn.Module", build(dim=dim, height=height, width=width))


def _module(name: str) -> str:
    if name not in _MODULES:
        near = difflib.get_close_matches(name, _MODULES, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"There is no backbone {name!r}.{guess}",
            mend=f"Use one of: {', '.join(backbone_names())}.",
        )
    return _MODULES[name]
