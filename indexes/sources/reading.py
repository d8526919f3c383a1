"""How sources are read, and the name that says so in the catalog."""

import hashlib
import json
from dataclasses import dataclass, field

from indexes.sources.cut import Cut
from indexes.sources.records import SourceKind
from toolkit.errors import UsageError
from toolkit.mining.cameras import CameraRule
from toolkit.mining.settings import MiningSettings

LONGEST_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Raises UsageError for settings that make no sense, or none together.

    cut: how pictures, and sampled frames of videos, become patches; dense: by the dense
    graph of the bundle instead, every window of the network's size, or of `cut.windows`;
    every_s: seconds from one sampled frame of a video to the next, None for its moving
    regions; mining: how these are found; cameras: which camera films what, None where a
    picture has none and a video is its own.
    """

    cut: Cut = field(default_factory=Cut)
    dense: bool = False
    every_s: float | None = None
    mining: MiningSettings = field(default_factory=MiningSettings)
    cameras: CameraRule = field(default_factory=CameraRule)

    def __post_init__(self) -> None:
        if self.dense and self.cut.grids:
            raise UsageError(
                "A grid is not cut from dense features.", mend="Give --grid or --dense."
            )
        if self.every_s is not None and not 0 < self.every_s <= LONGEST_S:
            raise UsageError(
                f"A frame every {self.every_s} s cannot be sampled.",
                mend=f"Give more than 0 and at most {LONGEST_S:.0f} seconds.",
            )

    @property
    def cuts(self) -> bool:
        """True where a picture gives more than one patch."""
        return self.dense or not self.cut.is_whole

    @property
    def names_cameras(self) -> bool:
        """True where somebody said which camera films what."""
        return self.cameras != CameraRule()

    def of(self, kind: SourceKind) -> str:
        """What is done with a source of this kind, with every setting that changes patches."""
        match kind:
            case "image":
                return self._picture()
            case "video":
                if self.every_s is not None:
                    return f"every:{float(self.every_s)!r}/{self._picture()}"
                return f"moving:{_digest(self.mining)}"
            case "shard":
                return "pairs"
            case "table":
                return "vectors"

    def _picture(self) -> str:
        if not self.dense:
            return self.cut.name
        sides = ",".join(map(str, sorted(set(self.cut.windows))))
        return f"dense:{sides}" if sides else "dense"


def _digest(mining: MiningSettings) -> str:
    """12 hex digits over all settings of mining, the same in every process."""
    settings = json.dumps(dict(mining.as_json()), sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:12]
