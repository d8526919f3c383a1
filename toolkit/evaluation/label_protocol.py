"""How well a few labels carry over to the rest: k-NN and linear probe, beside the baselines.

Test pictures are the quarter that toolkit.evaluation.label_split sets apart. Of the labels on
the other side 1, 10 and 100 percent are used, of each class one at least; what is less than
all is drawn several times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding import Embedder
from toolkit.evaluation.baselines import BASELINES, Feature
from toolkit.evaluation.evaluate import random_network
from toolkit.evaluation.intervals import Accuracy, accuracy_of, class_mean
from toolkit.evaluation.knn import KnnSettings, knn_classes
from toolkit.evaluation.label_split import LabelSplit, draw_labels, split_by_content
from toolkit.evaluation.labelled import (
    LabelledFiles,
    LabelledPictures,
    OnProgress,
    read_labelled,
)
from toolkit.evaluation.probe import choose_strength, fit_probe

SHARES = (0.01, 0.1, 1.0)
DRAWS = 5
FEW_DRAWS = 2  # where a probe takes a minute: of thousands of classes
_LARGE = 1 << 32  # products of a pass over the features
METHODS = ("knn", "probe")

Features = NDArray[np.float32]  # (N, D), rows of length 1
Labels = NDArray[np.int64]
# Queries, known features and their labels to classes.
Answer = Callable[[Features, Features, Labels], Labels]
OnFeature = Callable[[str, int, int], None]  # which, how many are done, of how many


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What one method reaches with some of the labels, over `draws` draws of them.

    class_mean: the mean over the classes, which counts small ones as much as large ones.
    """

    method: str
    share: float
    labels: int
    draws: int
    accuracy: Accuracy
    class_mean: float

    def as_json(self) -> dict[str, Any]:
        """As it stands in the JSON of `vr eval --labels`."""
        return {
            "method": self.method,
            "share": self.share,
            "labels": self.labels,
            "draws": self.draws,
            **self.accuracy.as_json(),
            "class_mean": self.class_mean,
        }


@dataclass(frozen=True, slots=True)
class LabelReport:
    """An embedder and what it has to beat, on the same labels.

    vectors: of the embedder, (N, dim); results: of it; baselines: of each feature that needs
    no training; most_common: the accuracy of always naming the class with the most labels.
    """

    pictures: LabelledPictures
    split: LabelSplit
    vectors: Features
    results: Sequence[LabelResult]
    baselines: Mapping[str, Sequence[LabelResult]]
    most_common: float


def evaluate_labels(
    embedder: Embedder,
    found: LabelledFiles,
    settings: KnnSettings,
    on_progress: OnProgress = lambda _: None,
    on_feature: OnFeature = lambda *_: None,
) -> LabelReport:
    """Read the pictures once, make all features of them, and measure each.

    Memory: the features, about 10 KB a picture with those of HOG; the pictures themselves go
    by in batches. Raises InputError where the pictures are too few.
    """
    untrained = random_network(embedder.card)
    makers: dict[str, Feature] = {
        "": embedder.embed,
        "random network": untrained.embed,
        **BASELINES,
    }
    rows: dict[str, list[Features]] = {name: [] for name in makers}

    def take(images: NDArray[np.uint8]) -> None:
        for name, maker in makers.items():
            rows[name].append(np.array(maker(images)))

    try:
        pictures = read_labelled(found, embedder.card.preprocessing, take, on_progress)
    finally:
        untrained.close()
    split = split_by_content(pictures)
    vectors = np.concatenate(rows[""])
    measured: dict[str, Sequence[LabelResult]] = {}
    for done, name in enumerate(makers):
        on_feature(name, done, len(makers))
        measured[name] = measure(np.concatenate(rows.pop(name)), pictures, split, settings)
    own = measured.pop("")
    return LabelReport(pictures, split, vectors, own, measured, _most_common(pictures, split))


def measure(
    features: Features,
    pictures: LabelledPictures,
    split: LabelSplit,
    settings: KnnSettings,
    shares: Sequence[float] = SHARES,
) -> list[LabelResult]:
    """Both methods at each share of the labels; features: (N, D) of the pictures."""
    known, labels = features[split.train], pictures.labels[split.train]
    queries, wanted = features[split.test], pictures.labels[split.test]
    groups = pictures.groups[split.train]
    results = []
    for share in shares:
        times = _times(known, labels) if share < 1 else 1
        draws = [draw_labels(labels, share, seed) for seed in range(times)]
        for method in METHODS:
            first = draws[0]
            classes = int(labels[first].max()) + 1
            if method == "knn":
                answer = _knn(classes, settings)
            else:
                answer = _probe(known[first], labels[first], classes, groups[first])
            found = [answer(queries, known[draw], labels[draw]) for draw in draws]
            right = np.stack(found) == wanted
            accuracy = accuracy_of(right, pictures.groups[split.test])
            mean = class_mean(right, wanted)
            results.append(LabelResult(method, share, len(draws[0]), len(draws), accuracy, mean))
    return results


def _times(known: Features, labels: Labels) -> int:
    """How often some of the labels are drawn."""
    return DRAWS if known.size * (int(labels.max()) + 1) < _LARGE else FEW_DRAWS


def _knn(classes: int, settings: KnnSettings) -> Answer:
    return lambda q, k, own: knn_classes(q, k, own, classes, settings)


def _probe(known: Features, labels: Labels, classes: int, groups: Labels) -> Answer:
    """What it has to choose it chooses on the first draw, for all draws."""
    strength = choose_strength(known, labels, classes, groups)
    return lambda q, k, own: fit_probe(k, own, classes, strength).classes(q)


def _most_common(pictures: LabelledPictures, split: LabelSplit) -> float:
    most = np.bincount(pictures.labels[split.train]).argmax()
    return float((pictures.labels[split.test] == most).mean())
