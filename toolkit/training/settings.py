"""What a training run is: one validated record, and the named recipes that fill it in."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, get_type_hints

from toolkit.errors import UsageError
from toolkit.networks.backbones import backbone_defaults
from toolkit.preprocess import Channels, Preprocessing
from toolkit.training.checks import check_choice, check_together, check_values


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Everything that decides the weights of a run, apart from the pairs themselves.

    The network:
        backbone: its name. size, dim and channels ("rgb", "bgr", "gray"): 0 or "" take what
        the backbone is made for. init: the weights to begin from, a local folder or the name
        of a published checkpoint; "" draws them.
    The loss:
        loss: "rank-hard" or "infonce". margin, negatives (per pair), hard_ratio, rand_ratio:
        of rank-hard (paper, section 4.2). hard_after: the part of the steps that passes before
        rank-hard turns from random to hard negatives; hard ones from the start collapse the
        network. temperature: of infonce. known_negatives: take for negatives only what surely
        shows something else, not what may be the same thing met again
        (toolkit.patches.relations); the paper takes every other track.
    The batches:
        batch_pairs: pairs a step. positives: "pair", the mined positive; "track", any other
        patch of the same track; "augmentation", the query itself, changed again.
        pairs_per_track: pairs of one track that come together in a batch. cameras: "mixed",
        or "one": all pairs of a batch from one camera. augment: crops and colour changes
        besides the mirror. turn: the degrees that they turn a patch by at most.
    The steps:
        steps; optimizer: "adamw" or "sgd" (Caffe's, with the doubled rate of biases); rate,
        weight_decay; warmup: the part of the steps over which the rate rises. decay: "cosine"
        to zero, or "step": times 0.1 each quarter of the steps. ema: the decay per step of the
        averaged weights, which are then what is measured and exported; 0 averages nothing.
    What is measured:
        split: hold out by "time" or by "video"; held_out: the part of it; evaluate_every: steps
        between two measurements. keep: the state that becomes model.safetensors, "last" or
        "best" (by held-out recall@1, which is then optimistic).
    The computing:
        seed; precision: "auto", "fp32" or "bf16"; compile: whether torch.compile is used.
    """

    recipe: str = "modern"
    backbone: str = "small"
    size: int = 0
    dim: int = 0
    channels: str = ""
    init: str = ""
    loss: str = "infonce"
    margin: float = 0.5
    negatives: int = 4
    hard_ratio: float = 0.5
    rand_ratio: float = 0.5
    hard_after: float = 0.375
    temperature: float = 0.1
    known_negatives: bool = True
    batch_pairs: int = 64
    positives: str = "pair"
    pairs_per_track: int = 1
    cameras: str = "mixed"
    augment: bool = True
    turn: float = 10.0
    steps: int = 1000
    optimizer: str = "adamw"
    rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    decay: str = "cosine"
    ema: float = 0.0
    split: str = "time"
    held_out: float = 0.25
    evaluate_every: int = 200
    keep: str = "last"
    seed: int = 0
    precision: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        check_choice("recipe", self.recipe, tuple(RECIPES))
        check_values(self.as_json(), setting_types())
        check_together(self)
        _ = self.preprocessing  # refuses an unknown backbone

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

    def measures_after(self, done: int) -> bool:
        """Whether recall is measured when so many steps are done."""
        return done % self.evaluate_every == 0 or done == self.steps

    def as_json(self) -> dict[str, Any]:
        """As it stands in settings.json and in checkpoints."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises UsageError for an unknown or impossible setting."""
        for name in content:
            check_name(name)
        return cls(**content)

    @classmethod
    def from_recipe(cls, recipe: str, changes: Mapping[str, Any]) -> Self:
        """A recipe with some settings changed; a change that is None is none."""
        check_choice("recipe", recipe, tuple(RECIPES))
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


def setting_types() -> dict[str, type]:
    """Each setting and its type: bool, int, float or str."""
    hints = get_type_hints(TrainSettings)
    return {field.name: hints[field.name] for field in fields(TrainSettings)}


def check_name(name: str) -> None:
    """Raise UsageError with the nearest name unless there is a setting of this name."""
    known = sorted(field.name for field in fields(TrainSettings))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
        raise UsageError(f"There is no training setting {name!r}.", mend=guess)


# The published schedule: 400,000 steps of 50 pairs, rate 1e-3 times 0.1 each 100,000; random
# negatives for 150,000 steps, then the 4 hardest. All of it is spelled out, so that another
# default of the modern recipe does not change it.
RECIPES: dict[str, dict[str, Any]] = {
    "modern": {},
    "wang2015": {
        "backbone": "alexnet",
        "loss": "rank-hard",
        "margin": 0.5,
        "negatives": 4,
        "known_negatives": False,
        "positives": "pair",
        "pairs_per_track": 1,
        "cameras": "mixed",
        "ema": 0.0,
        "hard_ratio": 1.0,
        "rand_ratio": 0.0,
        "hard_after": 0.375,
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
