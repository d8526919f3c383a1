"""The alarm of a collapse: it reads the rows of metrics.jsonl and speaks up once a collapse.

Two ways to collapse are told apart. On a **point**: all embeddings are nearly equal, and the
loss is what a single point gives. On a **line**: they lie apart, but only in a direction or
two. The thresholds come from short runs of both backbones, healthy and spoilt on purpose.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.training.settings import TrainSettings

POINT_SPREAD = 0.25  # dropout alone keeps a collapsed small network at 0.07 to 0.2
EQUAL_SPREAD = 1e-4  # nothing but rounding: no gradient is left that could lead out
AT_POINT_LOSS = 0.98  # of the loss that a single point gives
LINE_RANK = 2.0
LINE_PART = 0.05  # of the directions that a batch could use
ROWS = 10  # logged rows that a network which once was sound has to be collapsed for
FIRST_ROWS = 30  # the same where it never was: a fresh AlexNet begins on a point
FIRST_PART = 0.05  # or this part of the run, where that is more
SOUND_ROWS = 3  # on end, for a network to be sound

SOUND, POINT, LINE = "", "point", "line"
ALARM, RECOVERED = "alarm", "recovered"


def point_loss(settings: TrainSettings, batch_pairs: int) -> float:
    """The loss of a batch of so many pairs where every embedding falls on one point."""
    if settings.loss == "infonce":
        return math.log(2 * batch_pairs - 1)
    return settings.margin


def most_directions(settings: TrainSettings, batch_pairs: int) -> int:
    """What the effective rank of a batch of so many pairs cannot exceed."""
    return min(settings.embedding_dim, 2 * batch_pairs - 1)


@dataclass(frozen=True, slots=True)
class Said:
    """What the alarm has to say; name: ALARM or RECOVERED, as it stands in metrics.jsonl."""

    name: str
    text: str


@dataclass(slots=True)
class _Stretch:
    """For how many rows a collapse has lasted, where it began and how far apart things lay."""

    rows: int = 0
    step: int = 0
    reach: float = 0.0
    hard: bool = False


class CollapseAlarm:
    """Fed each logged row in its order; a resumed run gives the rows that it kept as `earlier`.

    batch_pairs: the pairs of a step, of all processes.
    """

    def __init__(
        self,
        settings: TrainSettings,
        batch_pairs: int,
        earlier: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._settings = settings
        self._point_loss = point_loss(settings, batch_pairs)
        self._directions = most_directions(settings, batch_pairs)
        self._line = max(min(LINE_RANK, self._directions / 4), LINE_PART * self._directions)
        self._stretch = _Stretch()
        self._sound_rows = 0
        self._was_sound = self._told = False
        self._first = True
        for row in earlier:
            if "spread" in row:
                self.feed(int(row["step"]), row)

    def feed(self, step: int, row: Mapping[str, Any]) -> Said | None:
        """What to tell people after this row: nearly always nothing, and once a collapse.

        row: loss, spread, effective_rank and hard_ratio, each None where it is no number.
        """
        state = self.state_of(row)
        if self._first and state == SOUND:
            self._was_sound = True  # it did not begin on a point, so it need not leave one
        self._first = False
        self._sound_rows = self._sound_rows + 1 if state == SOUND else 0
        if state == SOUND:
            return self._recover(step) if self._sound_rows >= SOUND_ROWS else None
        self._lengthen(step, row)
        if self._told or not self._lasts(step, row):
            return None
        self._told = True
        return Said(ALARM, self._words(state, step, row))

    def _recover(self, step: int) -> Said | None:
        told, self._told = self._told, False
        self._stretch, self._was_sound = _Stretch(), True
        if not told:
            return None
        return Said(RECOVERED, f"Recovered: at step {step} the embeddings lie apart again.")

    def state_of(self, row: Mapping[str, Any]) -> str:
        """SOUND, POINT or LINE, as one row by itself looks."""
        loss, spread, rank = (_number(row, n) for n in ("loss", "spread", "effective_rank"))
        at_point_loss = loss >= AT_POINT_LOSS * self._point_loss
        if spread < EQUAL_SPREAD or (spread < POINT_SPREAD and at_point_loss):
            return POINT
        return LINE if rank < self._line else SOUND

    def _lengthen(self, step: int, row: Mapping[str, Any]) -> None:
        reach = max(_number(row, "spread") * max(_number(row, "effective_rank"), 1), EQUAL_SPREAD)
        # What doubles is on its way out: the count begins anew.
        if not self._stretch.rows or reach > 2 * self._stretch.reach:
            self._stretch = _Stretch(0, step, reach)
        self._stretch.rows += 1
        # Hard negatives that came long after the fall are not what caused it.
        if self._stretch.rows <= ROWS and _number(row, "hard_ratio") > 0:
            self._stretch.hard = True

    def _lasts(self, step: int, row: Mapping[str, Any]) -> bool:
        """Whether the stretch has lasted long enough to be no passing state."""
        rows, steps = self._stretch.rows, self._settings.steps
        dead = _number(row, "spread") < EQUAL_SPREAD
        if self._was_sound or dead or step >= steps:
            return rows >= ROWS
        return rows >= FIRST_ROWS and step - self._stretch.step >= FIRST_PART * steps

    def _words(self, state: str, step: int, row: Mapping[str, Any]) -> str:
        spread, rank = _number(row, "spread"), _number(row, "effective_rank")
        since = f"from step {self._stretch.step} to {step}"
        if state == LINE:
            return (
                f"Collapse: {since} the embeddings used {rank:.1f} directions of "
                f"{self._directions} (effective rank); most of what could tell "
                f"things apart is lost. {self._advice()}"
            )
        did = "put everything" if self._was_sound else "had everything"
        return (
            f"Collapse: {since} the network {did} on one point (spread {spread:.4f}, loss "
            f"{_number(row, 'loss'):.4f}, and a single point gives "
            f"{self._point_loss:.4f}): it learns nothing. {self._advice()}"
        )

    def _advice(self) -> str:
        settings = self._settings
        later = min(1.0, settings.hard_after + 0.25)
        longer = min(1.0, max(0.1, 2 * settings.warmup))
        remedies = []
        if settings.loss == "rank-hard" and self._stretch.hard:
            remedies.append(f"later hard negatives (--set hard_after={later:g})")
        if self._was_sound or self._stretch.hard:
            remedies.append(f"a lower rate (--rate {settings.rate / 4:.2g})")
            remedies.append(f"a longer warm-up (--set warmup={longer:.2g})")
        else:
            # It never left the point: as often because the rate is too low as too high.
            low, high = settings.rate / 4, settings.rate * 4
            remedies.append(f"another rate (--rate {low:.2g} or {high:.2g})")
        if not self._was_sound and settings.backbone == "alexnet":
            remedies.append("a network that begins less crowded (--backbone small or resnet18)")
        elif settings.loss == "rank-hard":
            remedies.append("--loss infonce")
        else:
            remedies.append(
                f"a higher temperature (--set temperature={2 * settings.temperature:g})"
            )
        return f"Start again with {', '.join(remedies[:-1])} or {remedies[-1]}."


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
