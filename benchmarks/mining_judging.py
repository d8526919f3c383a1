"""Judging mined pairs against the truth of synthetic clips, and what could have been mined."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from synthetic_clips import SyntheticClip
from synthetic_drawing import Truth

from toolkit.mining.audit.false_rate import SeenPair
from toolkit.mining.mined import MinedPair
from toolkit.mining.settings import MiningSettings
from toolkit.patches.phash import perceptual_hash
from toolkit.records import Box, PatchPair, Sighting

_SEEN = 0.5  # share of a thing that must be seen at both ends of a true pair
_WELL_SEEN = 0.75  # share that must be seen throughout an opportunity
_SETTLED_S = 1e-6

Opportunity = tuple[int, int]  # number of the thing, number of the window


@dataclass(frozen=True)
class Rule:
    """When a box lies on a thing: by IoU, or where most of the box lies inside the thing's."""

    name: str
    min_iou: float
    min_inside: float = 2.0  # share of the box; never, by default


MAIN = Rule("IoU 0.3", 0.3)
STRICT = Rule("IoU 0.5", 0.5)
LOOSE = Rule("IoU 0.3 or inside", 0.3, 0.8)
RULES = (MAIN, STRICT, LOOSE)


@dataclass(frozen=True)
class Owner:
    """The thing that a box lies on, its IoU with it, and the share of it that is seen."""

    column: int
    iou: float
    visible: float


@dataclass(frozen=True)
class Judged:
    """One mined pair against the truth.

    verdicts: by the name of a rule, "true" or what is wrong, "part" where the boxes lie
    inside the thing but show too little of it for the rule; column: the thing, of a pair
    that is true by MAIN; ious: of both ends with it.
    """

    clip: int
    quality: float
    query_s: float
    verdicts: dict[str, str]
    column: int | None
    ious: tuple[float, float]

    @property
    def true(self) -> bool:
        return self.column is not None


@dataclass
class ClipScore:
    """What was mined of one clip, and what could have been."""

    name: str
    judged: list[Judged] = field(default_factory=list)
    opportunities: dict[Opportunity, tuple[float, float]] = field(default_factory=dict)
    owners: dict[int, dict[float, int | None]] = field(default_factory=dict)  # by track and time
    patches: list[SeenPair] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0

    def covered(self, pair: Judged) -> Opportunity | None:
        """The opportunity that a true pair takes."""
        if pair.column is None:
            return None
        for key, (start_s, end_s) in self.opportunities.items():
            if key[0] == pair.column and start_s <= pair.query_s + _SETTLED_S < end_s:
                return key
        return None


def owner_of(sighting: Sighting, truth: Truth, rule: Rule) -> Owner | None:
    """The sprite with the best IoU, if the box lies on it by the rule."""
    frame = truth.frame_at(sighting.time_s)
    best: tuple[float, float, int] | None = None
    for column in range(len(truth.names)):
        if truth.visible[frame, column] > 0:
            box = Box(*truth.boxes[frame, column].tolist())
            shared = box.intersection(sighting.box)
            inside = shared / sighting.box.area
            best = max(best or (0.0, 0.0, -1), (box.iou(sighting.box), inside, column))
    if best is None or not (best[0] >= rule.min_iou or best[1] >= rule.min_inside):
        return None
    return Owner(best[2], best[0], float(truth.visible[frame, best[2]]))


def verdict(pair: MinedPair, truth: Truth, rule: Rule) -> tuple[str, Owner | None, Owner | None]:
    """The word true, or why the pair is false; and what its two ends lie on."""
    query, positive = (owner_of(view.sighting, truth, rule) for view in (pair.query, pair.positive))
    if query is None and positive is None:
        return "background", query, positive
    if query is None or positive is None:
        return "lost", query, positive
    if query.column != positive.column:
        return "two things", query, positive
    if not truth.counted[query.column]:
        return "distractor", query, positive
    if min(query.visible, positive.visible) < _SEEN:
        return "hidden", query, positive
    return "true", query, positive


def opportunities(truth: Truth, settings: MiningSettings) -> dict[Opportunity, tuple[float, float]]:
    """Windows (start, end) of `gap_s` in which a thing could be mined, side by side in time.

    In each frame of it at least three quarters of the thing are seen, so that it holds no cut:
    what is seen again after one counts as another thing. From its start to its end the thing
    travels `min_travel` of its length against the background, or moves inside. A true pair
    takes it when its query lies in it.
    """
    found: dict[Opportunity, tuple[float, float]] = {}
    times = truth.times_s
    windows = int((float(times[-1]) - float(times[0]) + 1e-9) / settings.gap_s)
    for window in range(windows):
        start_s = float(times[0]) + window * settings.gap_s
        inside = (times >= start_s - _SETTLED_S) & (times <= start_s + settings.gap_s + _SETTLED_S)
        for column in np.flatnonzero(truth.counted):
            if truth.visible[inside, column].min() < _WELL_SEEN:
                continue
            places = truth.places[inside, column]
            travel = float(np.linalg.norm(places[-1] - places[0]))
            if travel >= settings.min_travel or truth.waves[column]:
                found[int(column), window] = (start_s, start_s + settings.gap_s)
    return found


def score(
    pairs: Iterable[MinedPair], clip: SyntheticClip, settings: MiningSettings, number: int = 0
) -> ClipScore:
    """Judge the pairs of one clip, the `number`th of the clips that are looked at together."""
    truth = clip.truth
    result = ClipScore(clip.name, opportunities=opportunities(truth, settings))
    for pair in pairs:
        judged = {rule: verdict(pair, truth, rule) for rule in RULES}
        loosely = judged[LOOSE][0]
        name, query, positive = judged[MAIN]
        is_true = name == "true" and query is not None and positive is not None
        result.judged.append(
            Judged(
                clip=number,
                quality=pair.quality.score,
                query_s=pair.query.sighting.time_s,
                verdicts={rule.name: _named(judged[rule][0], loosely) for rule in RULES},
                column=query.column if is_true and query else None,
                ious=(query.iou if query else 0.0, positive.iou if positive else 0.0),
            )
        )
        result.patches.append(_seen(pair, f"{number}-{clip.name}", len(result.patches)))
        for view, owner in ((pair.query, query), (pair.positive, positive)):
            seen = result.owners.setdefault(view.track, {})
            seen[view.sighting.time_s] = owner.column if owner else None
    return result


def _seen(pair: MinedPair, video: str, number: int) -> SeenPair:
    """As the audit gets it from a shard, where it knows nothing of the truth."""
    record = PatchPair(
        key=f"{video}-{number}",
        video=video,
        path=video,
        camera=video,
        track=f"{video}-{pair.query.track}",
        query=pair.query.sighting,
        positive=pair.positive.sighting,
        quality=pair.quality,
        query_phash=perceptual_hash(pair.query.patch),
        positive_phash=perceptual_hash(pair.positive.patch),
    )
    return SeenPair(record, pair.query.patch, pair.positive.patch)


def _named(strictly: str, loosely: str) -> str:
    """A small box on a thing is not simply background."""
    if strictly == "true":
        return "true"
    return {"true": "part", "distractor": "distractor"}.get(loosely, strictly)
