"""What labels of 1, 5 and 20 pictures a class are worth when `vr label` spreads them.

    python benchmarks/label_spread.py OUT                          # an hour on 2 cores
    python benchmarks/label_spread.py OUT --data stamps --labels 5 --draws 2

Stamps of tuxpaint and the test part of Fashion-MNIST lie in an index each for every kind of
vector. Some pictures of each class, drawn at random, are labelled with `import_labels`; `spread`
labels the rest or abstains, and is judged by the labels that it did not see. OUT keeps trained
networks and vectors.
"""

import argparse
import csv
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from indexing_measuring import interval, table
from label_spread_features import IMAGENET, NAMES, features
from labelled_images import Labelled, fashion, stamps
from machine import describe
from numpy.typing import NDArray
from plotting import Curve, draw_shares

from indexes.build.build import build
from indexes.folder.store import open_folder
from indexes.labels.given import import_labels
from indexes.labels.spread import SpreadSettings, spread
from indexes.labels.table import given_labels, undo
from indexes.labels.things import class_names, exemplars, living
from indexes.labels.voting import hold_voting, vote_on_all
from toolkit.embedding import Embeddings
from toolkit.images import RgbImage
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

ACCURACY = 0.95
_UNLABELLED = 5000  # of the training part of Fashion-MNIST, for a network to learn from
_COVERAGES = np.linspace(0.02, 1, 50)


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of labels, judged on the pictures without one.

    curve: accuracy of the surest share, by _COVERAGES; area: its mean over all shares;
    coverage, accuracy: of what `spread` labelled, accuracy NaN where it labelled nothing.
    """

    curve: NDArray[np.float64]
    area: float
    coverage: float
    accuracy: float
    vouched: bool

    @property
    def all_of_them(self) -> float:
        """The accuracy without abstaining."""
        return float(self.curve[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="stamps,fashion")
    parser.add_argument("--features", default=",".join(NAMES))
    parser.add_argument("--labels", default="1,5,20", help="of each class")
    parser.add_argument("--uncalibrated", action="store_true", help="label without a promise too")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--plots", type=Path, help="folder for the curves, as SVG")
    options = parser.parse_args()
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
    print(describe())
    print(f"- draws of labels: {options.draws}; intervals of 95 % over them (Student's t)\n")
    counts = [int(count) for count in options.labels.split(",")]
    for name in options.data.split(","):
        data, unlabelled = _data(name)
        judge_all(data, unlabelled, options.features.split(","), counts, options)


def _data(name: str) -> tuple[Labelled, tuple[RgbImage, ...]]:
    if name == "stamps":
        data = stamps()
        return data, data.pictures
    return fashion(), fashion("train").pictures[:_UNLABELLED]


def judge_all(
    data: Labelled,
    unlabelled: tuple[RgbImage, ...],
    names: Sequence[str],
    counts: Sequence[int],
    options: argparse.Namespace,
) -> None:
    """The table of one set of pictures, and its plots."""
    sizes = ", ".join(f"{label} {(data.labels == label).sum()}" for label in data.classes)
    print(f"## {data.name}\n\n{len(data)} pictures: {sizes}. Always the commonest class is right "
          f"in {max((data.labels == c).mean() for c in data.classes):.3f}.\n")  # fmt: skip
    settings = SpreadSettings(accuracy=ACCURACY, uncalibrated=options.uncalibrated)
    found: dict[tuple[str, int], list[Draw]] = {}
    for name in names:
        index = indexed(features(name, data, unlabelled, options.out), options.out / "index")
        for count in counts:
            found[name, count] = [
                judge(index, data, drawn(data, count, seed), settings)
                for seed in range(options.draws)
            ]
    header = ["labels a class", "vectors", "accuracy of all", "area", "area / ImageNet"]
    header += ["labelled at 0.95", "right of these", "draws vouched for"]
    rows = [_row(name, count, found) for count in counts for name in names]
    print(table(header, rows), flush=True)
    if options.plots:
        for count in counts:
            curves = [
                Curve(name, np.mean([d.curve for d in found[name, count]], axis=0).tolist())
                for name in names
            ]
            path = options.plots / f"label-spread-{data.name.split()[-1].lower()}-{count}.svg"
            path.write_text(draw_shares(_COVERAGES.tolist(), curves, "share labelled"))


def _row(name: str, count: int, found: dict[tuple[str, int], list[Draw]]) -> list[str]:
    draws = found[name, count]
    ratio = ""
    if (IMAGENET, count) in found:
        best = found[IMAGENET, count]
        ratio = interval([a.area / b.area for a, b in zip(draws, best, strict=True)])
    judged = [draw.accuracy for draw in draws if draw.coverage > 0]
    return [
        str(count), name, interval([draw.all_of_them for draw in draws]),
        interval([draw.area for draw in draws]), ratio,
        interval([draw.coverage for draw in draws]),
        f"{np.mean(judged):.3f} ({min(judged):.3f} to {max(judged):.3f})" if judged else "",
        f"{sum(draw.vouched for draw in draws)} of {len(draws)}",
    ]  # fmt: skip


class _Vectors:
    """Stands for the embedder of vectors that are there: only its card is looked at."""

    runtime = "none"

    def __init__(self, dim: int) -> None:
        self.card = ModelCard("small", dim, Preprocessing(64, 64), "0" * 64, {})

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        raise AssertionError(f"{len(images)} pictures to embed, where all are")

    def close(self) -> None:
        """Nothing is held."""


def indexed(vectors: Embeddings, index: Path) -> Path:
    """An index of the vectors: row i is the source i.png."""
    shutil.rmtree(index, ignore_errors=True)
    npy = index.parent / "vectors.npy"
    np.save(npy, vectors)
    with npy.with_suffix(".csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [["source"], *([name] for name in map(_name, range(len(vectors))))]
        )
    build(index, [npy], _Vectors(vectors.shape[1]))
    return index


def _name(row: int) -> str:
    return f"{row}.png"


def judge(index: Path, data: Labelled, known: NDArray[np.int64], settings: SpreadSettings) -> Draw:
    """Label the known rows, spread, compare, and take both back."""
    given = index.parent / "labels.csv"
    with given.open("w", newline="") as stream:
        lines = [[_name(row), data.labels[row]] for row in known.tolist()]
        csv.writer(stream).writerows([["source", "label"], *lines])
    import_labels(index, given)
    report = spread(index, settings)
    rest = np.ones(len(data), np.bool_)
    rest[known] = False
    right = [data.labels[row] == label for row, label in _spread_labels(index).items() if rest[row]]
    curve, area = _curve(index, data, rest)
    undo(index)
    undo(index)
    return Draw(
        curve, area, len(right) / int(rest.sum()), float(np.mean(right)) if right else np.nan,
        report.decision.calibrated,
    )  # fmt: skip


def drawn(data: Labelled, count: int, seed: int) -> NDArray[np.int64]:
    """So many rows of each class, at random, ascending; the same for every kind of vector."""
    generator = np.random.default_rng((seed, count))
    rows = [
        generator.choice(np.flatnonzero(data.labels == label), count, replace=False)
        for label in data.classes
    ]
    return np.sort(np.concatenate(rows)).astype(np.int64)


def _spread_labels(index: Path) -> dict[int, str]:
    """Row to label, of all that have one now."""
    with closing(open_folder(index)) as store:
        patches = [int(patch) for segment in store.segments for patch in segment.rows[:, 0]]
        places = store.places(patches)
    return {int(Path(place.source).stem): place.label for place in places.values() if place.label}


def _curve(
    index: Path, data: Labelled, rest: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Accuracy of the surest votes by share, and its mean over all shares."""
    with closing(open_folder(index)) as store:
        labels = given_labels(store.catalog)
        parts = living(store)
        known = exemplars(parts, labels, store.card.dim)
        voting = hold_voting(known)
        things, votes = vote_on_all(parts, known, voting.settings)
        places = store.places((-things).tolist())
    names = np.array(class_names(labels))
    rows = np.array([int(Path(places[-int(thing)].source).stem) for thing in things])
    judged = rest[rows]
    right = (names[votes.classes] == data.labels[rows])[judged]
    order = np.argsort(-votes.confidences[judged], kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    at = np.maximum(np.round(_COVERAGES * len(order)).astype(int), 1) - 1
    return shares[at], float(shares.mean())


if __name__ == "__main__":
    main()
