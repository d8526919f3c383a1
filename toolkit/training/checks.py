"""What a training setting may be: its type, its range or the words that it takes."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from toolkit.errors import UsageError
from toolkit.losses import loss_names
from toolkit.preprocess import Channels

if TYPE_CHECKING:
    from toolkit.training.settings import TrainSettings

# These take what the backbone is made for.
OF_BACKBONE: dict[str, object] = {"size": 0, "dim": 0, "channels": ""}

CHOICES: dict[str, tuple[str, ...]] = {
    "channels": get_args(Channels),
    "loss": tuple(loss_names()),
    "positives": ("pair", "track", "augmentation"),
    "cameras": ("mixed", "one"),
    "optimizer": ("adamw", "sgd"),
    "decay": ("cosine", "step"),
    "split": ("time", "video"),
    "keep": ("last", "best"),
    "precision": ("auto", "fp32", "bf16"),
}

# Both ends are allowed.
RANGES: dict[str, tuple[float, float]] = {
    "size": (16, 4096),
    "dim": (1, 65_536),
    "margin": (0, 100),
    "negatives": (1, 10**9),
    "hard_ratio": (0, 1),
    "rand_ratio": (0, 1),
    "hard_after": (0, 1),
    "temperature": (1e-4, 100),
    "pairs_per_track": (1, 10**6),
    "steps": (1, 10**9),
    "batch_pairs": (2, 10**6),
    "rate": (1e-9, 100),
    "weight_decay": (0, 100),
    "warmup": (0, 1),
    "ema": (0, 0.999999),
    "turn": (0, 180),
    "held_out": (0, 0.9),
    "evaluate_every": (1, 10**9),
    "seed": (0, 2**31),
}

_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "Use true or false."),
    int: ((int,), "Use a whole number."),
    float: ((int, float), "Use a number."),
    str: ((str,), "Use text."),
}


def check_values(values: Mapping[str, Any], types: Mapping[str, type]) -> None:
    """Check each setting by itself. Raises UsageError, which names the first wrong one."""
    for name, value in values.items():
        _check_type(name, value, types[name])
        if name in OF_BACKBONE and value == OF_BACKBONE[name]:
            continue
        if name in CHOICES:
            check_choice(name, value, CHOICES[name])
        if name in RANGES:
            _check_range(name, value, *RANGES[name])


def check_together(settings: "TrainSettings") -> None:
    """Check what single settings do not show. Raises UsageError."""
    if settings.pairs_per_track * 2 > settings.batch_pairs:
        raise wrong(
            "pairs_per_track",
            settings.pairs_per_track,
            f"Use at most half of batch_pairs ({settings.batch_pairs}): a batch needs 2 tracks.",
        )
    if settings.keep == "best" and settings.held_out == 0:
        raise wrong("keep", settings.keep, "Use last, or hold something out to measure on.")
    parts = (settings.hard_ratio, settings.rand_ratio)
    drawn = sum(int(settings.negatives * part) for part in parts)
    if settings.loss == "rank-hard" and settings.hard_after < 1 and not drawn:
        raise wrong(
            "negatives",
            settings.negatives,
            f"Use more, or a larger hard_ratio or rand_ratio: {parts[0]:g} and {parts[1]:g} of "
            "them, rounded down, are none to learn from.",
        )


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise UsageError with the nearest word unless `value` is among the known ones."""
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        guess = f"Did you mean {near[0]}? " if near else ""
        raise wrong(name, value, f"{guess}Use one of: {', '.join(known)}.")


def wrong(name: str, value: object, mend: str) -> UsageError:
    """The error for one setting."""
    return UsageError(f"The setting {name} is {value!r}.", mend=mend)


def _check_type(name: str, value: object, kind: type) -> None:
    allowed, mend = _TYPES[kind]
    # To Python true is the number 1; to us it is not.
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise wrong(name, value, mend)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise wrong(name, value, f"Use a number from {low:.12g} to {high:.12g}.")
