"""The architecture of a checkpoint of transformers: its config, and what pictures it takes."""

import json
import math
from collections.abc import Mapping
from typing import Any

from toolkit.errors import UsageError
from toolkit.networks.backbones import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    Architecture,
    BackboneDefaults,
    PerChannel,
)
from toolkit.networks.hub import config_folder
from toolkit.optional import require
from toolkit.preprocess import Channels, Preprocessing
from toolkit.workspace import read_json

DEFAULT_DIM = 256
DEFAULT_SIZE = 224
SCALE = 1 / 255

# Of no use for an embedding, or not for a file to decide: code and kernels are never fetched
# because a config asks for it, and weights are kept in float32.
_DROPPED = (
    "_attn_implementation", "_experts_implementation", "_name_or_path", "attn_implementation",
    "auto_map", "dtype", "id2label", "label2id", "quantization_config", "torch_dtype",
    "transformers_version",
)  # fmt: skip


def describe(name: str) -> Architecture:
    """The whole config, what pictures it takes, and the version that reads it so, as JSON.

    Raises UsageError, MissingError.
    """
    transformers = require("transformers")
    folder = config_folder(name)
    given = read_json(folder / "config.json", "config of a checkpoint")
    path = folder / "preprocessor_config.json"
    pictures = read_json(path, "config of a preprocessor") if path.is_file() else {}
    config = parse_config(given)
    whole = json.loads(config.to_json_string(use_diff=False))
    return {
        "config": _cleaned(whole),
        "input": _input(whole, pictures),
        "package": f"transformers {transformers.__version__}",
    }


def parse_config(content: Mapping[str, Any]) -> Any:
    """A config of transformers, of the part that sees pictures. Raises UsageError."""
    transformers = require("transformers")
    kind = content.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        own = " It comes with code of its own, which is never run." if "auto_map" in content else ""
        raise UsageError(
            f"transformers {transformers.__version__} knows no model type {kind!r}.{own}",
            mend="Use another checkpoint, or a newer transformers.",
        )
    try:
        config = transformers.CONFIG_MAPPING[kind].from_dict(_cleaned(content))
    except Exception as error:  # each config checks itself in its own way
        raise UsageError(f"The config of a {kind} makes no sense: {error}") from error
    if model_class(config) is None and getattr(config, "vision_config", None) is not None:
        config = config.vision_config  # of a network for pictures and text
    if model_class(config) is None:
        raise UsageError(
            f"A network of type {kind} does not take pictures.",
            mend="Use one that does: resnet, convnextv2, vit, dinov2, dinov3_vit, ...",
        )
    if getattr(config, "num_channels", 3) != 3:
        raise UsageError(
            f"The network takes pictures of {config.num_channels} channels.",
            mend="Use one that takes 3.",
        )
    return config


def model_class(config: Any) -> Any:
    """The class of transformers that computes features of pictures, or None."""
    try:
        found = require("transformers").MODEL_MAPPING[type(config)]
    except KeyError:
        return None
    found = found[0] if isinstance(found, list | tuple) else found
    return found if found.main_input_name == "pixel_values" else None


def read_defaults(architecture: Architecture) -> BackboneDefaults:
    """The defaults in an architecture that `describe` gave. Raises UsageError."""
    try:
        size = architecture["input"]
        return BackboneDefaults(
            Preprocessing(int(size["height"]), int(size["width"]), size["channels"], SCALE),
            dim=DEFAULT_DIM,
            mean=_per_channel(size["mean"]),
            deviation=_per_channel(size["deviation"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"The architecture of the network is damaged: {error!r}.") from error


def _cleaned(content: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in content.items() if key not in _DROPPED}
    return {k: _cleaned(v) if isinstance(v, Mapping) else v for k, v in kept.items()}


def _input(config: Mapping[str, Any], pictures: Mapping[str, Any]) -> dict[str, Any]:
    """What the network was trained to take.

    The preprocessor's size comes first: a network's own may be the largest that it was ever
    shown, as in DINOv2.
    """
    crop = pictures.get("crop_size") if pictures.get("do_center_crop", True) else None
    height, width = _size(crop or pictures.get("size") or config.get("image_size"))
    channels: Channels = "bgr" if pictures.get("do_flip_channel_order") else "rgb"
    mean, deviation = IMAGENET_MEAN, IMAGENET_DEVIATION
    try:
        if pictures.get("do_normalize", True):
            mean = _per_channel(pictures.get("image_mean") or mean)
            deviation = _per_channel(pictures.get("image_std") or deviation)
        else:
            mean, deviation = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        # Ours are applied after our own scale.
        factor = SCALE / (
            float(pictures.get("rescale_factor") or SCALE)
            if pictures.get("do_rescale", True)
            else 1.0
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"The preprocessor_config.json makes no sense: {error}.") from error
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "mean": [value * factor for value in mean],
        "deviation": [value * factor for value in deviation],
    }


def _size(given: Any) -> tuple[int, int]:
    """Height and width of a size as configs give it: a number, a pair or a mapping."""
    try:
        if given is None:
            return DEFAULT_SIZE, DEFAULT_SIZE
        if isinstance(given, Mapping):
            side = given.get("shortest_edge")
            return int(given.get("height", side)), int(given.get("width", side))
        if isinstance(given, list | tuple):
            height, width = given
            return int(height), int(width)
        return int(given), int(given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The checkpoint's picture size makes no sense: {given!r}.") from error


def _per_channel(values: Any) -> PerChannel:
    red, green, blue = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise ValueError(f"{values!r} are no numbers")
    return red, green, blue
