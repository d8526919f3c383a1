"""The backbones by name. A module of this package that holds `BACKBONES` adds some.

A backbone is one file here: a module with `BACKBONES = {"name": Backbone(...)}`. A module with
`FAMILY` adds every name `PREFIX:...` of another package. Nothing else has to be changed.
"""

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import toolkit.networks
from toolkit.errors import UsageError
from toolkit.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn

# What a backbone of a family is built of, as JSON: it travels with the weights, so that a
# saved network opens without the folder or the network connection it came from.
Architecture = Mapping[str, Any]
PerChannel = tuple[float, float, float]

IMAGENET_MEAN: PerChannel = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: PerChannel = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class BackboneDefaults:
    """What a backbone expects where nothing else is said.

    mean_image: whether the mean over the training patches is taken off. mean, deviation: of
    red, green and blue, after `scale`, where the backbone's published weights were trained
    with them; None takes the middle of the range.
    """

    preprocessing: Preprocessing
    dim: int
    mean_image: bool = False
    mean: PerChannel | None = None
    deviation: PerChannel | None = None


@dataclass(frozen=True, slots=True)
class Dense:
    """How a backbone is laid over a picture larger than its input, every window in one pass.

    stride: pixels between its deepest features; windows lie at multiples of it. convert:
    called with the backbone, the height and width of a window and the stride of the windows;
    gives a module from float [B, 3, H, W], cut to whole windows, to float [B, dim, rows,
    columns], not normalised, whose `margin` is how many pixels beyond a window it sees.
    """

    stride: int
    convert: "Callable[..., nn.Module]"


@dataclass(frozen=True, slots=True)
class Backbone:
    """How a backbone is made.

    build: called with `dim`, `height` and `width` by keyword; gives a module from float
    [B, 3, height, width] to float [B, dim], not normalised. head: its last layer, which is
    drawn anew where weights of another length of embedding are loaded. dense: None where
    the backbone is not convolutional throughout.
    """

    defaults: BackboneDefaults
    build: "Callable[..., nn.Module]"
    head: str = "head"
    dense: Dense | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """The backbones of another package, named `PREFIX:NAME`.

    describe: NAME to its architecture; may read a folder or ask a hub. backbone: an
    architecture to how it is made, without either. weights: NAME as in --init to the tensors
    of a published checkpoint, by the names of the backbone's own layers. All raise UsageError
    or MissingError.
    """

    prefix: str
    describe: Callable[[str], Architecture]
    backbone: Callable[[Architecture], Backbone]
    weights: "Callable[[nn.Module, str], PublishedWeights]"


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A published checkpoint for a backbone: its tensors by the backbone's own names.

    misfits: in words, what has the name of a layer but not its shape; unused: the names that
    the backbone has no place for.
    """

    tensors: Mapping[str, Any]
    misfits: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def backbone_names() -> list[str]:
    """The names that `--backbone` takes, apart from those of families."""
    return sorted(_registry()[0])


def family_prefixes() -> list[str]:
    """What stands before the colon in the names of families."""
    return sorted(_registry()[1])


def family_of(name: str) -> Family | None:
    """The family that a name belongs to; None for a backbone of this package."""
    prefix, colon, rest = name.partition(":")
    return _registry()[1].get(prefix) if colon and rest else None


def describe_backbone(name: str) -> Architecture:
    """What has to travel with the weights to build this backbone again; often nothing.

    Raises UsageError for an unknown name, MissingError where its package is not there.
    """
    family = family_of(name)
    if family is not None:
        return family.describe(name.partition(":")[2])
    find_backbone(name)
    return {}


def find_backbone(name: str, architecture: Architecture | None = None) -> Backbone:
    """How a backbone is made; from its architecture alone where that is given.

    Raises UsageError for an unknown name or an impossible architecture, MissingError.
    """
    family = family_of(name)
    if family is not None:
        return family.backbone(describe_backbone(name) if architecture is None else architecture)
    known = _registry()[0]
    if name not in known:
        raise _unknown(name)
    return known[name]


def backbone_defaults(name: str, architecture: Architecture | None = None) -> BackboneDefaults:
    """The defaults of a backbone. Raises UsageError for an unknown name, MissingError."""
    return find_backbone(name, architecture).defaults


def build_backbone(
    name: str, *, dim: int, height: int, width: int, architecture: Architecture | None = None
) -> "nn.Module":
    """A freshly initialised backbone: float [B, 3, height, width] to float [B, dim].

    Initialisation draws from torch's global generator. Raises UsageError, MissingError.
    """
    return find_backbone(name, architecture).build(dim=dim, height=height, width=width)


@functools.cache
def _registry() -> tuple[dict[str, Backbone], dict[str, Family]]:
    """Every backbone and every family that the modules of this package hold."""
    backbones: dict[str, Backbone] = {}
    families: dict[str, Family] = {}
    for info in pkgutil.iter_modules(toolkit.networks.__path__):
        module = importlib.import_module(f"toolkit.networks.{info.name}")
        backbones.update(getattr(module, "BACKBONES", {}))
        family = getattr(module, "FAMILY", None)
        if family is not None:
            families[family.prefix] = family
    return backbones, families


def _unknown(name: str) -> UsageError:
    near = difflib.get_close_matches(name, backbone_names(), n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    families = "".join(f", {prefix}:NAME" for prefix in family_prefixes())
    return UsageError(
        f"There is no backbone {name!r}.{guess}",
        mend=f"Use one of: {', '.join(backbone_names())}{families}.",
    )
