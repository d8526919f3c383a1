"""Which labelled pictures are learned from and which are tested on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.evaluation.label_split import draw_labels, split_by_content
from toolkit.evaluation.labelled import LabelledFile, LabelledPictures


def pictures(labels: Sequence[int], groups: Sequence[int] | None = None) -> LabelledPictures:
    """Pictures with made-up contents: number i always has the same bytes."""
    names = tuple(f"class{place:04}" for place in range(max(labels) + 1))
    return LabelledPictures(
        tuple(LabelledFile(Path(f"{row}.png"), names[label]) for row, label in enumerate(labels)),
        names,
        np.array(labels, np.int64),
        np.arange(len(labels)) if groups is None else np.array(groups, np.int64),
        tuple(hashlib.sha256(str(row).encode()).hexdigest() for row in range(len(labels))),
    )


def test_a_quarter_is_tested_on_and_nothing_is_on_both_sides() -> None:
    split = split_by_content(pictures([0, 1] * 1000))
    assert sorted([*split.train, *split.test]) == list(range(2000))
    assert 440 < len(split.test) < 560
    assert split.untested == ()


def test_a_picture_stays_where_it_is_when_others_come() -> None:
    few, many = (split_by_content(pictures([0, 1] * count)) for count in (200, 1000))
    assert few.test.tolist() == [row for row in many.test.tolist() if row < 400]


def test_what_is_alike_is_on_one_side() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 60, 400)
    split = split_by_content(pictures(rng.integers(0, 5, 400).tolist(), groups.tolist()))
    assert not set(groups[split.train]) & set(groups[split.test])
    assert len(split.test) > 40


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_learned_and_where_it_can_be_tested(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, 40)
    labels = np.repeat(np.arange(40), sizes)
    split = split_by_content(pictures(labels.tolist()))
    assert set(labels[split.train]) == set(range(40))
    assert set(labels[split.test]) == set(np.flatnonzero(sizes > 1).tolist())
    assert split.untested == tuple(f"class{c:04}" for c in np.flatnonzero(sizes == 1))


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_learned_when_groups_reach_over_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, 10, 50), range(10))
    groups = np.append(rng.integers(0, 15, 50), range(50, 60))
    split = split_by_content(pictures(labels.tolist(), groups.tolist()))
    assert set(labels[split.train]) == set(range(10))
    assert not set(groups[split.train]) & set(groups[split.test])


def test_thousands_of_classes() -> None:
    labels = np.repeat(np.arange(5000), 2)
    split = split_by_content(pictures(labels.tolist()))
    assert len(split.train) == len(split.test) == 5000


def test_classes_of_one_picture_each_cannot_be_tested() -> None:
    with pytest.raises(InputError, match="No class has two pictures"):
        split_by_content(pictures([0, 1, 2]))


def test_copies_of_one_picture_cannot_be_parted() -> None:
    with pytest.raises(InputError, match="Copies of one picture count as one"):
        split_by_content(pictures([0, 0, 0, 1], [0, 0, 0, 3]))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_a_draw_takes_its_share_of_each_class_and_one_at_least(share: float) -> None:
    labels = np.repeat([0, 1, 2], [5, 40, 300])
    np.random.default_rng(0).shuffle(labels)
    drawn = labels[draw_labels(labels, share, seed=7)]
    wanted = [max(1, round(share * size)) for size in (5, 40, 300)]
    assert np.bincount(drawn).tolist() == wanted


def test_draws_differ_by_seed_and_lie_inside_larger_ones() -> None:
    labels = np.repeat([0, 1], 100)
    few, more = (set(draw_labels(labels, share, 1).tolist()) for share in (0.05, 0.3))
    assert few < more
    assert few != set(draw_labels(labels, 0.05, 2).tolist())
    assert few == set(draw_labels(labels, 0.05, 1).tolist())
