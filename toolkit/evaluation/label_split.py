"""Labelled pictures split in two, and the draws of a few labels from one side.

A picture's side follows from the bytes of its file, so it stays where it is when others come
or go. What is alike (toolkit.evaluation.alike) stays together: its side follows from the least
hash among it.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import InputError
from toolkit.evaluation.labelled import LabelledPictures

TEST_SHARE = 0.25

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelSplit:
    """Rows of the pictures. untested: the classes of which there is no test picture."""

    train: Rows
    test: Rows
    untested: tuple[str, ...]


def split_by_content(pictures: LabelledPictures, share: float = TEST_SHARE) -> LabelSplit:
    """About `share` of the pictures to test on, the rest to learn from.

    Every class keeps something to learn from, and something to test on where it has two
    pictures that may be parted. Raises InputError where nothing is left to test on.
    """
    chance = _chances(pictures)
    classes = _classes_of(pictures)
    test = {group for group, value in chance.items() if value < share}
    _fill_training(test, chance, classes)
    _fill_test(test, chance, classes)
    is_test = np.isin(pictures.groups, np.array(sorted(test), np.int64))
    if not is_test.any():
        raise InputError(
            f"No class has two pictures that may be parted; there are {len(pictures.labels)} "
            f"pictures of {len(pictures.classes)} classes.",
            mend="Give more pictures of each class. Copies of one picture count as one.",
        )
    tested = set(pictures.labels[is_test].tolist())
    untested = [name for place, name in enumerate(pictures.classes) if place not in tested]
    return LabelSplit(np.flatnonzero(~is_test), np.flatnonzero(is_test), tuple(untested))


def _chances(pictures: LabelledPictures) -> dict[int, float]:
    """For each group a number of 0 to 1 that follows from the bytes of its files."""
    least: dict[int, str] = {}
    for group, sha256 in zip(pictures.groups.tolist(), pictures.sha256, strict=True):
        least[group] = min(least.get(group, sha256), sha256)
    # Hashed again: the least of many hashes is small.
    return {
        group: int(hashlib.sha256(sha256.encode()).hexdigest()[:12], 16) / 16**12
        for group, sha256 in least.items()
    }


def _classes_of(pictures: LabelledPictures) -> Mapping[int, frozenset[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for group, label in zip(pictures.groups.tolist(), pictures.labels.tolist(), strict=True):
        found[group].add(label)
    return {group: frozenset(labels) for group, labels in found.items()}


def _fill_training(
    test: set[int], chance: Mapping[int, float], classes: Mapping[int, frozenset[int]]
) -> None:
    """Each class gets a group to learn from: of those it has, the last to be tested on."""
    learned = Counter(label for group in chance if group not in test for label in classes[group])
    for group in sorted(test, key=lambda group: -chance[group]):
        if any(not learned[label] for label in classes[group]):
            test.remove(group)
            learned.update(classes[group])


def _fill_test(
    test: set[int], chance: Mapping[int, float], classes: Mapping[int, frozenset[int]]
) -> None:
    """Each class gets a group to test on, unless a class would lose its last to learn from."""
    learned = Counter(label for group in chance if group not in test for label in classes[group])
    tested = Counter(label for group in test for label in classes[group])
    for group in sorted(chance, key=lambda group: chance[group]):
        own = classes[group]
        lacking = any(not tested[label] for label in own)
        if group not in test and lacking and all(learned[label] > 1 for label in own):
            test.add(group)
            tested.update(own)
            learned.subtract(own)


def draw_labels(labels: Rows, share: float, seed: int) -> Rows:
    """Places of the labels that are drawn: of each class `share`, and one at least.

    labels: (N,), classes. A smaller share of one seed is part of a larger one. Ascending.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    parts = np.split(by_class, np.flatnonzero(np.diff(labels[by_class])) + 1)
    return np.sort(np.concatenate([part[: max(1, round(share * len(part)))] for part in parts]))
