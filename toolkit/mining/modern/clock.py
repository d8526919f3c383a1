"""When to look: the distance of analysed frames, and the beats in which things are done."""

from dataclasses import dataclass

TICK_S = 0.08  # from one analysed frame to the next, at least
HOLE_S = 0.5  # with this much missing between two frames nothing can be followed
SLACK_S = 1e-3  # PTS are rounded to less than this


@dataclass(slots=True)
class Beat:
    """Strikes once in each period, at the first time on or after it that is asked for.

    due_s: when it strikes next; early_s: how much before that is near enough.
    """

    period_s: float
    due_s: float
    early_s: float = SLACK_S

    def strikes(self, time_s: float) -> bool:
        """Whether it strikes now; times must not run backwards."""
        late_s = time_s + self.early_s - self.due_s
        if late_s < 0:
            return False
        self.due_s += self.period_s * (1 + late_s // self.period_s)
        return True
