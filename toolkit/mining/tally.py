"""What mining a video saw and set aside, counted while it runs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """frames decoded, seconds of footage done, tracks begun, pairs kept, and rejections by reason.

    on_frame, where given, is called with the tally after every analysed frame.
    """

    frames: int = 0
    footage_s: float = 0.0
    tracks: int = 0
    pairs: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    on_frame: "Callable[[Tally], None] | None" = None

    def reject(self, reason: str) -> None:
        """Count one thing that was not used."""
        self.rejected[reason] += 1
