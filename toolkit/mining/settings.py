"""What a user may set about mining; everything else is a constant beside its reason."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from toolkit.errors import UsageError

SAMPLES_PER_GAP = 6

Recipe = Literal["modern", "wang2015"]
Device = Literal["cpu", "cuda"]

_MODERN_ONLY = frozenset({"gap_s", "pairs_per_gap", "min_travel", "device"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSettings:
    """Raises UsageError for a value that makes no sense, naming the setting.

    recipe: "modern" (toolkit.mining.modern) or the paper's own, "wang2015", which follows a
    box of one size for 30 frames and takes no gap_s, pairs_per_gap, min_travel or GPU.
    device: what decodes and computes the flow; a GPU gives other pairs, about as good.
    gap_s: seconds between query and positive (a thing that is seen for less gives pairs
    over half of its time, at least a third of gap_s); pairs_per_gap: how many pairs a
    track gives in that time, 1, 2, 3 or 6; patch_pixels: longer side of a stored patch,
    larger ones are shrunk; min_box_pixels: shorter side of a thing in the original video,
    below which it is too small to learn from; min_travel: how far a thing must move
    against the background within a pair, in lengths of itself (square root of its box's
    area), unless it waves or turns on the spot; min_quality: pairs below this score are
    dropped; jpeg_quality: of the stored patches.
    """

    recipe: Recipe = "modern"
    device: Device = "cpu"
    gap_s: float = 0.8
    pairs_per_gap: int = 3
    patch_pixels: int = 256
    min_box_pixels: int = 20
    min_travel: float = 0.15
    min_quality: float = 0.55
    jpeg_quality: int = 92

    def __post_init__(self) -> None:
        for name, choices in (("recipe", get_args(Recipe)), ("device", get_args(Device))):
            if getattr(self, name) not in choices:
                raise UsageError(
                    f"The setting {name} is {getattr(self, name)!r}; not {' or '.join(choices)}."
                )
        ranges = {
            "gap_s": (0.2, 60.0),
            "pairs_per_gap": (1, SAMPLES_PER_GAP),
            "patch_pixels": (16, 4096),
            "min_box_pixels": (8, 4096),
            "min_travel": (0.0, 10.0),
            "min_quality": (0.0, 1.0),
            "jpeg_quality": (1, 100),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise UsageError(f"The setting {name} is {value!r}; it must be {low} to {high}.")
        if SAMPLES_PER_GAP % self.pairs_per_gap:
            raise UsageError(
                f"The setting pairs_per_gap is {self.pairs_per_gap}; not 1, 2, 3 or 6."
            )
        if self.recipe == "wang2015":
            self._refuse_what_the_paper_lacks()

    def _refuse_what_the_paper_lacks(self) -> None:
        for field in fields(self):
            if field.name in _MODERN_ONLY and getattr(self, field.name) != field.default:
                raise UsageError(
                    f"The recipe wang2015 does not use the setting {field.name}.",
                    mend=f"Leave {field.name} out, or use the recipe modern.",
                )

    @property
    def stride_s(self) -> float:
        """Seconds from one sample of a track to the next."""
        return self.gap_s / SAMPLES_PER_GAP

    def as_json(self) -> Mapping[str, Any]:
        """As it stands in the ledger."""
        return asdict(self)
