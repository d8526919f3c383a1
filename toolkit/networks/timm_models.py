"""Backbones `timm:NAME`: the networks of the package timm, then one linear layer.

`--init NAME`, the same name, gives a backbone the weights that timm publishes for it.
"""

import math
from functools import partial
from typing import Any

from torch import Tensor, nn

from toolkit.errors import UsageError
from toolkit.networks.backbones import (
    Architecture,
    Backbone,
    BackboneDefaults,
    Family,
    PerChannel,
    PublishedWeights,
)
from toolkit.networks.probe import probe
from toolkit.optional import require
from toolkit.preprocess import Preprocessing

DEFAULT_DIM = 256


class TimmBackbone(nn.Module):
    """float [B, 3, height, width] to float [B, dim]: timm's pooled features, mixed."""

    def __init__(self, architecture: Architecture, dim: int, height: int, width: int) -> None:
        super().__init__()
        self.name = str(architecture["name"])
        own = architecture["height"], architecture["width"]
        # Only networks of one size (a ViT's position embeddings) know the keyword.
        fixed = architecture["fixed_size"] and own != (height, width)
        self._options: dict[str, Any] = {"img_size": (height, width)} if fixed else {}
        self.body: nn.Module = _create(self.name, pretrained=False, **self._options)
        self.head = nn.Linear(probe(self, self.body, height, width), dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, height, width] to [B, dim]."""
        embedding: Tensor = self.head(self.body(x))
        return embedding

    def read_weights(self, name: str) -> PublishedWeights:
        """The weights that timm publishes for this network. Raises UsageError."""
        if name.removeprefix("timm:") != self.name:
            raise UsageError(
                f"{name} is no file of weights, and not the name of this backbone.",
                mend=f"Use --init {self.name} for the weights that timm publishes for it.",
            )
        body = _create(self.name, pretrained=True, **self._options)
        return PublishedWeights({f"body.{n}": t for n, t in body.state_dict().items()})


def _create(name: str, **options: Any) -> nn.Module:
    """Without its classifier: the result is what timm pools, [B, features]."""
    timm = require("timm")
    try:
        body = timm.create_model(name, num_classes=0, **options)
    except Exception as error:  # each network, and the hub, fails in its own way
        raise UsageError(f"timm cannot give the network {name}: {error}") from error
    assert isinstance(body, nn.Module)
    return body


def _describe(name: str) -> Architecture:
    timm = require("timm")
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:3]
        raise UsageError(
            f"timm {timm.__version__} has no network {name!r}.",
            mend=f"Near: {', '.join(near)}." if near else "See timm.list_models().",
        )
    published = timm.get_pretrained_cfg(name)
    _, height, width = published.input_size
    return {
        "name": name,
        "package": f"timm {timm.__version__}",
        "height": int(height),
        "width": int(width),
        "fixed_size": bool(published.fixed_input_size),
        "mean": [float(value) for value in published.mean],
        "deviation": [float(value) for value in published.std],
    }


def _build(architecture: Architecture, *, dim: int, height: int, width: int) -> nn.Module:
    return TimmBackbone(architecture, dim, height, width)


def _backbone(architecture: Architecture) -> Backbone:
    try:
        defaults = BackboneDefaults(
            Preprocessing(int(architecture["height"]), int(architecture["width"])),
            dim=DEFAULT_DIM,
            mean=_per_channel(architecture["mean"]),
            deviation=_per_channel(architecture["deviation"]),
        )
        _ = architecture["name"], architecture["fixed_size"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"The architecture of the network is damaged: {error!r}.") from error
    return Backbone(defaults, partial(_build, architecture))


def _per_channel(values: Any) -> PerChannel:
    red, green, blue = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise ValueError(f"{values!r} are no numbers")
    return red, green, blue


def _weights(backbone: nn.Module, name: str) -> PublishedWeights:
    assert isinstance(backbone, TimmBackbone)
    return backbone.read_weights(name)


FAMILY = Family("timm", _describe, _backbone, _weights)
