"""What a transfer is: one validated record, with defaults for each of the two modes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self, get_type_hints

from toolkit.errors import UsageError
from toolkit.training.checks import check_choice, check_values, wrong

if TYPE_CHECKING:
    from toolkit.training.settings import TrainSettings

HEAD, FINETUNE = "head", "finetune"

_RANGES: dict[str, tuple[int, int]] = {
    "epochs": (1, 10**6),
    "batch": (2, 10**6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """Everything that decides a classifier, apart from the network and the pictures.

    mode: "head" leaves the network as it is and learns a linear layer on its vectors;
    "finetune" learns both. Either begins with the linear probe of the plain pictures.
    epochs: passes over the pictures; steps: batches, in place of epochs unless 0.
    rate: of the network, or of the layer where only that learns; head_factor: by how much the
    layer's rate is larger in finetune. weight_decay, warmup, augment, turn, seed, precision:
    as in TrainSettings; the layer is not decayed. group_by: what stays on one side beside what
    looks alike, "none" or "folder".
    """

    mode: str = HEAD
    epochs: int = 10
    steps: int = 0
    batch: int = 32
    rate: float = 1e-2
    head_factor: float = 10.0
    weight_decay: float = 0.05
    warmup: float = 0.05
    augment: bool = True
    turn: float = 10.0
    group_by: str = "none"
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, tuple(MODES))
        check_choice("group_by", self.group_by, ("none", "folder"))
        given = self.as_json()
        if self.steps == 0 and type(self.steps) is int:
            del given["steps"]  # the epochs count; a training run has to have some
        check_values(given, get_type_hints(TransferSettings))
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise wrong(name, getattr(self, name), f"Use a number from {low} to {high}.")
        if not 0 < self.head_factor <= 1e6:
            raise wrong("head_factor", self.head_factor, "Use a number above 0, 1e6 at most.")

    def steps_of(self, pictures: int) -> tuple[int, int]:
        """Of so many to learn from: the steps of an epoch, and all of them."""
        epoch = max(1, pictures // min(self.batch, pictures))
        return epoch, self.steps or self.epochs * epoch

    def schedule(self, steps: int) -> "TrainSettings":
        """The part that the optimizer and the rate of a step are made of."""
        from toolkit.training.settings import TrainSettings

        return TrainSettings(
            steps=steps, rate=self.rate, weight_decay=self.weight_decay, warmup=self.warmup
        )

    def as_json(self) -> dict[str, Any]:
        """As it stands in transfer.json and in checkpoints."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises UsageError for an unknown or impossible setting."""
        known = {field.name for field in fields(cls)}
        for name in content:
            if name not in known:
                raise UsageError(
                    f"There is no transfer setting {name!r}.",
                    mend=f"Known: {', '.join(sorted(known))}.",
                )
        return cls(**content)

    @classmethod
    def of_mode(cls, mode: str, changes: Mapping[str, Any]) -> Self:
        """A mode with some settings changed; a change that is None is none."""
        check_choice("mode", mode, tuple(MODES))
        given = {name: value for name, value in changes.items() if value is not None}
        return cls.from_json({**MODES[mode], **given, "mode": mode})


MODES: dict[str, dict[str, Any]] = {
    HEAD: {},
    FINETUNE: {"epochs": 20, "rate": 3e-4},
}
