"""Backbones `hf:NAME`: any network for pictures that transformers knows, then one linear layer.

NAME is a folder with a config.json, or a checkpoint of the hub. A backbone is built from the
config alone, with random weights; `--init NAME` gives it those of the checkpoint
(toolkit.networks.initial). Code that comes with a checkpoint is never run.
"""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import UsageError
from toolkit.networks.backbones import Architecture, Backbone, Family, PublishedWeights
from toolkit.networks.hf_config import describe, model_class, parse_config, read_defaults
from toolkit.networks.hub import weights_folder
from toolkit.networks.probe import probe
from toolkit.optional import require


class HuggingFaceBackbone(nn.Module):
    """float [B, 3, height, width] to float [B, dim]: a network's pooled features, mixed.

    Features are what the network itself pools, where it was trained to; else its class token;
    else the mean over all places. Raises UsageError where the size does not suit it.
    """

    def __init__(self, config: Any, dim: int, height: int, width: int) -> None:
        super().__init__()
        transformers = require("transformers")
        self._options = _building_options(model_class(config))
        with _quiet():
            self.body: nn.Module = transformers.AutoModel.from_config(config, **self._options)
        self._stretch = _must_stretch(self.body, height, width)
        self._has_class_token = any(
            name.endswith("cls_token") for name, _ in self.body.named_parameters()
        )
        self.head = nn.Linear(probe(self, self.features, height, width), dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, height, width] to [B, dim]."""
        embedding: Tensor = self.head(self.features(x))
        return embedding

    def features(self, x: Tensor) -> Tensor:
        """[B, 3, height, width] to [B, features]."""
        # Only where it must: the keyword is not known to every network.
        options = {"interpolate_pos_encoding": True} if self._stretch else {}
        output = self.body(pixel_values=x, **options)
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            pooled = self._pool(output.last_hidden_state)
        features: Tensor = pooled.flatten(1)
        return features

    def _pool(self, hidden: Tensor) -> Tensor:
        """[B, C, H, W] or [B, tokens, C] to [B, C]."""
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        return hidden[:, 0] if self._has_class_token else hidden.mean(1)

    def read_weights(self, name: str) -> PublishedWeights:
        """The tensors of a checkpoint for this body. Raises UsageError."""
        folder = weights_folder(name)
        try:
            with _quiet():
                read, report = type(self.body).from_pretrained(  # type: ignore[attr-defined]
                    folder,
                    config=copy.deepcopy(self.body.config),
                    use_safetensors=True,
                    local_files_only=True,
                    ignore_mismatched_sizes=True,  # they are listed together with the rest
                    output_loading_info=True,
                    **self._options,
                )
        except Exception as error:  # a damaged file trips it anywhere
            raise UsageError(
                f"The weights in {folder} cannot be read: {error}", mend="Fetch them again."
            ) from error
        misfits = {name: (found, own) for name, found, own in report["mismatched_keys"]}
        absent = {*report["missing_keys"], *misfits}
        return PublishedWeights(
            {f"body.{n}": t for n, t in read.state_dict().items() if n not in absent},
            tuple(
                f"body.{name}: {tuple(found)}, not {tuple(own)}"
                for name, (found, own) in sorted(misfits.items())
            ),
            tuple(sorted(report["unexpected_keys"])),
        )


def _building_options(kind: Any) -> dict[str, Any]:
    """The same for a fresh network and for one with weights.

    The attention is named, because a config may ask for kernels that would be downloaded. The
    pooling layer of a ViT is left out: checkpoints often lack its weights.
    """
    options: dict[str, Any] = {
        "dtype": torch.float32,
        "attn_implementation": "sdpa" if getattr(kind, "_supports_sdpa", False) else "eager",
    }
    if "add_pooling_layer" in inspect.signature(kind.__init__).parameters:
        options["add_pooling_layer"] = False
    return options


def _must_stretch(body: nn.Module, height: int, width: int) -> bool:
    """Whether position embeddings were made for another size and can be interpolated."""
    made_for = getattr(body.config, "image_size", None)
    takes = "interpolate_pos_encoding" in inspect.signature(body.forward).parameters
    sides = made_for if isinstance(made_for, list | tuple) else (made_for, made_for)
    return takes and made_for is not None and tuple(sides) != (height, width)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own bars and notices off; what matters is in our records."""
    logging = require("transformers").utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _build(content: Architecture, *, dim: int, height: int, width: int) -> nn.Module:
    config = parse_config(content)
    try:
        return HuggingFaceBackbone(config, dim, height, width)
    except (AttributeError, ImportError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"transformers cannot build the {config.model_type} of this config: {error}",
            mend="Check the config.json; or use another checkpoint.",
        ) from error


def _backbone(architecture: Architecture) -> Backbone:
    defaults = read_defaults(architecture)
    config = architecture.get("config")
    if not isinstance(config, dict):
        raise UsageError("The architecture of the network is damaged: it holds no config.")
    return Backbone(defaults, partial(_build, config))


def _weights(backbone: nn.Module, name: str) -> PublishedWeights:
    assert isinstance(backbone, HuggingFaceBackbone)
    return backbone.read_weights(name)


FAMILY = Family("hf", describe, _backbone, _weights)
