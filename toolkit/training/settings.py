"""What a training run is: one validated record, and the named recipes that fill it in."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from toolkit.errors import UsageError
from toolkit.networks.backbones import backbone_defaults
from toolkit.preprocess import Channels, Preprocessing

LOSSES = ("rank-hard", "infonce")
OPTIMIZERS = ("adamw", "sgd")
SPLITS = ("time", "video")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Everything that decides the weights of a run, apart from the pairs themselves.

    size, dim and channels: 0 or "" take what the backbone is made for. batch_pairs: pairs a
    step. hard_after: the part of the steps that passes before rank-hard turns from random
    to hard negatives (hard ones from the start collapse the network). known_negatives: take
    for negatives only what surely shows something else, not what may be the same thing met
    again (toolkit.patches.relations); the paper takes every other track, and so does the default,
    which measured better on short clips (one seed; docs/training.md). warmup: the part of
    the steps over which the rate rises. decay: "cosine" to zero, or "step": times 0.1 each
    quarter of the steps. augment: crops and colour changes besides the mirror.
    """

    recipe: str = "modern"
    backbone: str = "small"
    size: int = 0
    dim: int = 0
    channels: str = ""
    loss: str = "rank-hard"
    margin: float = 0.5
    negatives: int = 4
    hard_ratio: float = 0.5
    rand_ratio: float = 0.5
    hard_after: float = 0.375
    temperature: float = 0.1
    known_negatives: bool = False
    steps: int = 1000
    batch_pairs: int = 64
    optimizer: str = "adamw"
    rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    decay: str = "cosine"
    augment: bool = True
    split: str = "time"
    held_out: float = 0.25
    evaluate_every: int = 200
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        _one_of("recipe", self.recipe, tuple(RECIPES))
        _one_of("loss", self.loss, LOSSES)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("decay", self.decay, ("cosine", "step"))
        _one_of("split", self.split, SPLITS)
        _one_of("precision", self.precision, ("auto", "fp32", "bf16"))
        for name in ("steps", "batch_pairs", "evaluate_every", "negatives", "size", "dim", "seed"):
            _whole(name, getattr(self, name))
        for name in ("steps", "batch_pairs", "evaluate_every", "negatives"):
            _within(name, getattr(self, name), 1, 10**9)
        for name in ("augment", "known_negatives"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(
                    f"The setting {name} is {getattr(self, name)!r}.", mend="Use true or false."
                )
        _within("batch_pairs", self.batch_pairs, 2, 10**6)
        for name in ("hard_ratio", "rand_ratio", "hard_after", "warmup"):
            _within(name, getattr(self, name), 0, 1)
        _within("held_out", self.held_out, 0, 0.9)
        _within("rate", self.rate, 1e-9, 100)
        _within("temperature", self.temperature, 1e-4, 100)
        _within("dim", self.dim, 0, 65_536)
        for name in ("margin", "weight_decay", "seed", "size"):
            _within(name, getattr(self, name), 0, 2**31)
        _ = self.preprocessing  # refuses an unknown backbone, an impossible size or channel

    @property
    def preprocessing(self) -> Preprocessing:
        """The input of the network, with the backbone's defaults where nothing was said."""
        default = backbone_defaults(self.backbone).preprocessing
        channels: Channels = self.channels or default.channels  # type: ignore[assignment]
        height, width = self.size or default.height, self.size or default.width
        return Preprocessing(height, width, channels, default.scale)

    @property
    def embedding_dim(self) -> int:
        """The length of an embedding."""
        return self.dim or backbone_defaults(self.backbone).dim

    def as_json(self) -> dict[str, Any]:
        """As it stands in settings.json and in checkpoints."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises UsageError for an unknown or impossible setting."""
        known = {field.name for field in fields(cls)}
        for name in content:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                guess = (
                    f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}."
                )
                raise UsageError(f"There is no training setting {name!r}.", mend=guess)
        return cls(**content)

    @classmethod
    def from_recipe(cls, recipe: str, changes: Mapping[str, Any]) -> Self:
        """A recipe with some settings changed; a change that is None is none."""
        _one_of("recipe", recipe, tuple(RECIPES))
        given = {name: value for name, value in changes.items() if value is not None}
        return cls.from_json({**RECIPES[recipe], **given, "recipe": recipe})

    def resolved(self, precision: str) -> Self:
        """The same with nothing left to defaults, as it is kept with a run."""
        input_size = self.preprocessing
        return replace(
            self,
            size=input_size.height,
            dim=self.embedding_dim,
            channels=input_size.channels,
            precision=precision,
        )

    def changed(self, **changes: Any) -> Self:
        """The same settings but for those named."""
        return replace(self, **changes)


# The published schedule: 400,000 steps of 50 pairs, rate 1e-3 times 0.1 each 100,000.
RECIPES: dict[str, dict[str, Any]] = {
    "modern": {},
    "wang2015": {
        "backbone": "alexnet",
        "loss": "rank-hard",
        "steps": 400_000,
        "batch_pairs": 50,
        "optimizer": "sgd",
        "rate": 1e-3,
        "weight_decay": 5e-4,
        "warmup": 0.0,
        "decay": "step",
        "augment": False,
        "evaluate_every": 5_000,
        "precision": "fp32",
    },
}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if known and value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        guess = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"The setting {name} is {value!r}.", mend=f"{guess}Use one of: {', '.join(known)}."
        )


def _whole(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"The setting {name} is {value!r}.", mend="Use a whole number.")


def _within(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(
            f"The setting {name} is {value!r}.", mend=f"Use a number from {low} to {high}."
        )
