"""How an index is brought to another model."""

from dataclasses import dataclass, field
from typing import Literal

from indexes.build.settings import BuildSettings
from toolkit.errors import UsageError

LEAST_PAIRS = 50

Rest = Literal["refuse", "map", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeSettings:
    """Raises UsageError for a sample that is too small to fit a map to.

    rest: what becomes of patches that cannot be embedded anew; map_first: embed a sample
    only, of about `sample` patches, and map everything else: a later upgrade embeds it.
    """

    rest: Rest = "refuse"
    map_first: bool = False
    sample: int = 5_000
    build: BuildSettings = field(default_factory=BuildSettings)

    def __post_init__(self) -> None:
        if self.sample < LEAST_PAIRS:
            raise UsageError(
                f"A sample of {self.sample} is too small to fit a map to.",
                mend=f"Give --sample {LEAST_PAIRS} or more.",
            )
