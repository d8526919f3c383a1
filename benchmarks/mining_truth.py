"""How true mined pairs are, on synthetic clips whose truth is known.

A pair is true when both of its boxes lie on the same thing, and the thing is seen there; on a
distractor, on the background, or on two things it is false (`mining_judging` has the rules).
"""

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mining_judging import LOOSE, MAIN, STRICT, ClipScore, score
from synthetic_clips import make_clips

from toolkit.mining.audit.false_rate import estimate_false_rate
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.video.decode import frames

CACHE = Path(tempfile.gettempdir()) / "vr-synthetic"
RECALL = 0.6


@dataclass(frozen=True)
class Row:
    """The figures of some clips. nan where there is nothing to count.

    precision: share of true pairs by MAIN, strict and loose by the other rules; recall:
    share of the opportunities that a true pair covers; at_recall: precision of the best
    pairs that reach RECALL, nan where it is not reached; quality_at: of the last of them;
    ious: mean, median, 10th percentile; mixed: share of tracks that lie on two things;
    fragments: tracks a thing.
    """

    name: str
    pairs: int
    precision: float
    strict: float
    loose: float
    opportunities: int
    recall: float
    at_recall: float
    quality_at: float
    ious: tuple[float, float, float]
    mixed: float
    fragments: float
    wrong: Counter[str]
    frames_per_second: float


@dataclass(frozen=True)
class Scores:
    """Rows by clip, and that of all together."""

    clips: list[Row]
    total: Row
    scored: list[ClipScore]


def curve(clips: Sequence[ClipScore]) -> Iterator[tuple[float, float, float]]:
    """(quality, precision, recall) after each pair, the best first."""
    total = sum(len(clip.opportunities) for clip in clips)
    by_number = {pair.clip: clip for clip in clips for pair in clip.judged}
    pairs = [pair for clip in clips for pair in clip.judged]
    pairs.sort(key=lambda pair: (-pair.quality, pair.clip, pair.query_s))
    true, taken = 0, set()
    for count, pair in enumerate(pairs, 1):
        true += pair.true
        key = by_number[pair.clip].covered(pair)
        if key is not None:
            taken.add((pair.clip, key))
        yield pair.quality, true / count, len(taken) / max(total, 1)


def row(name: str, clips: Sequence[ClipScore]) -> Row:
    """The figures of some clips together."""
    pairs = [pair for clip in clips for pair in clip.judged]
    points = list(curve(clips))
    reached = next((point for point in points if point[2] >= RECALL), (np.nan, np.nan, 0.0))
    ious = [iou for pair in pairs if pair.true for iou in pair.ious] or [np.nan]
    return Row(
        name=name,
        pairs=len(pairs),
        precision=_share(pair.true for pair in pairs),
        strict=_share(pair.verdicts[STRICT.name] == "true" for pair in pairs),
        loose=_share(pair.verdicts[LOOSE.name] == "true" for pair in pairs),
        opportunities=sum(len(clip.opportunities) for clip in clips),
        recall=points[-1][2] if points else 0.0,
        at_recall=reached[1],
        quality_at=reached[0],
        ious=(
            float(np.mean(ious)),
            float(np.median(ious)),
            float(np.percentile(ious, 10)),
        ),
        mixed=_share(
            len({o for o in track.values() if o is not None}) > 1
            for clip in clips
            for track in clip.owners.values()
        ),
        fragments=_fragments(clips),
        wrong=Counter(v for pair in pairs if (v := pair.verdicts[MAIN.name]) != "true"),
        frames_per_second=sum(c.frames for c in clips) / max(sum(c.seconds for c in clips), 1e-9),
    )


def _share(marks: Iterable[bool]) -> float:
    known = list(marks)
    return sum(known) / len(known) if known else float("nan")


def _fragments(clips: Sequence[ClipScore]) -> float:
    """Tracks a thing, by what most sightings of a track lie on."""
    tracks: dict[tuple[int, int], int] = defaultdict(int)
    for number, clip in enumerate(clips):
        for track in clip.owners.values():
            owner, _ = Counter(track.values()).most_common(1)[0]
            if owner is not None:
                tracks[number, owner] += 1
    return sum(tracks.values()) / len(tracks) if tracks else float("nan")


def score_all(
    settings: MiningSettings,
    *,
    folder: Path = CACHE,
    seeds: Sequence[int] = (0,),
    names: Sequence[str] | None = None,
) -> Scores:
    """Mine the synthetic clips with these settings and judge what comes of it."""
    scored: list[ClipScore] = []
    for clip in (clip for seed in seeds for clip in make_clips(folder, seed, names)):
        tally = Tally()
        started = time.perf_counter()
        pairs = mined_pairs(frames(clip.path), settings, tally)
        result = score(pairs, clip, settings, number=len(scored))
        result.seconds, result.frames = time.perf_counter() - started, tally.frames
        scored.append(result)
    by_name: dict[str, list[ClipScore]] = defaultdict(list)
    for result in scored:
        by_name[result.name].append(result)
    rows = [row(name, clips) for name, clips in by_name.items()]
    return Scores(rows, row("all", scored), scored)


def estimate(scores: Scores) -> str:
    """The audit's estimate of the false pairs beside the truth, as a sentence."""
    found = estimate_false_rate([seen for clip in scores.scored for seen in clip.patches])
    total = scores.total
    wrong = total.wrong
    switched = (wrong["two things"] + wrong["lost"]) / max(total.pairs, 1)
    told = (
        "no estimate, too few tracks"
        if found.rate is None
        else f"{found.rate:.3f} ({found.low:.3f} to {found.high:.3f})"
    )
    return (
        f"False pairs: the audit says {told}; by the truth {1 - total.precision:.3f} are not true, "
        f"{1 - total.loose:.3f} without those on a part of a thing, and {switched:.3f} have "
        "something else at the other end, which is all that the audit can see."
    )


HEADER = (
    "| clip | pairs | precision | IoU 0.5 | or inside | slots | recall | P@0.6 | quality "
    "| IoU mean | median | p10 | mixed | fragments | fps | wrong |"
)


def as_line(one: Row) -> str:
    """A row of the Markdown table; a dash where there is nothing to say."""
    numbers = [one.precision, one.strict, one.loose, one.opportunities, one.recall]
    numbers += [one.at_recall, one.quality_at, *one.ious, one.mixed, one.fragments]
    cells = [
        str(value) if isinstance(value, int) else "-" if np.isnan(value) else f"{value:.3f}"
        for value in numbers
    ]
    wrong = ", ".join(f"{count} {name}" for name, count in one.wrong.most_common())
    cells = [one.name, str(one.pairs), *cells, f"{one.frames_per_second:.0f}", wrong]
    return f"| {' | '.join(cells)} |"


def table(scores: Scores) -> str:
    """All rows as Markdown."""
    rule = "|---" * (HEADER.count("|") - 1) + "|"
    return "\n".join([HEADER, rule, *map(as_line, scores.clips), as_line(scores.total)])


def main() -> None:
    """Mine the synthetic clips and print precision, recall and IoU by condition."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--recipe", default="modern")
    parser.add_argument("--folder", type=Path, default=CACHE, help="where clips are kept")
    parser.add_argument("--seed", type=int, action="append", help="of the clips; several")
    parser.add_argument("--only", action="append", help="the name of a clip; several")
    parser.add_argument("--min-quality", type=float, default=MiningSettings().min_quality)
    parser.add_argument("--gap", type=float, default=MiningSettings().gap_s)
    options = parser.parse_args()
    settings = MiningSettings(
        recipe=options.recipe, gap_s=options.gap, min_quality=options.min_quality
    )
    scores = score_all(
        settings, folder=options.folder, seeds=options.seed or (0,), names=options.only
    )
    print(table(scores))
    at_recall, reached = scores.total.at_recall, scores.total.recall
    print(f"\n{estimate(scores)}")
    print(f"Precision at recall {RECALL}: {at_recall:.4f}; recall reaches {reached:.3f}.")


if __name__ == "__main__":
    main()
