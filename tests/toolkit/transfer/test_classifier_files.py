"""The files of a classifier, and the page about what it takes for what."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import MismatchError
from toolkit.transfer.confusion import (
    Measured,
    confusion_among,
    most_confused,
    worth_showing,
)
from toolkit.transfer.head import CARD_NAME, WEIGHTS_NAME, ClassifierHead, check_classes


def head() -> ClassifierHead:
    rng = np.random.default_rng(0)
    weights, biases = rng.normal(size=(3, 5)), rng.normal(size=3)
    return ClassifierHead(("a", "<b>", "ü"), weights.astype(np.float32), biases.astype(np.float32))


def test_a_layer_comes_back_as_it_was(tmp_path: Path) -> None:
    head().write(tmp_path, "f" * 64, {"mode": "head"})
    found = ClassifierHead.read(tmp_path, "f" * 64, 5)
    assert found.classes == head().classes
    assert np.array_equal(found.weights, head().weights)
    assert np.array_equal(found.biases, head().biases)


def test_probabilities_are_the_softmax_of_the_scores() -> None:
    vectors = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    for row, found in zip(vectors, head().probabilities(vectors), strict=True):
        powers = [
            np.exp(sum(float(w) * float(v) for w, v in zip(weight, row, strict=True)) + float(bias))
            for weight, bias in zip(head().weights, head().biases, strict=True)
        ]
        assert found == pytest.approx([power / sum(powers) for power in powers], abs=1e-6)


def test_scores_that_are_large_do_not_overflow() -> None:
    large = ClassifierHead(("a", "b"), np.float32([[1e4], [-1e4]]), np.zeros(2, np.float32))
    assert large.probabilities(np.ones((1, 1), np.float32)).tolist() == [[1.0, 0.0]]
    assert large.probabilities(np.ones((0, 1), np.float32)).shape == (0, 2)


def test_a_layer_of_another_network_is_refused(tmp_path: Path) -> None:
    head().write(tmp_path, "f" * 64, {})
    with pytest.raises(MismatchError, match="another network"):
        ClassifierHead.read(tmp_path, "e" * 64, 5)
    with pytest.raises(MismatchError, match="tensors"):
        ClassifierHead.read(tmp_path, "f" * 64, 6)


@pytest.mark.parametrize("damage", ["swapped", "cut", "gone", "no card", "no json"])
def test_a_damaged_layer_is_refused(tmp_path: Path, damage: str) -> None:
    head().write(tmp_path, "f" * 64, {})
    path = tmp_path / WEIGHTS_NAME
    content = path.read_bytes()
    if damage == "swapped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(content[:20])
    elif damage == "gone":
        path.unlink()
    elif damage == "no card":
        (tmp_path / CARD_NAME).unlink()
    else:
        (tmp_path / CARD_NAME).write_text("{")
    with pytest.raises(MismatchError):
        ClassifierHead.read(tmp_path, "f" * 64, 5)


@pytest.mark.parametrize(
    "names", [None, "ab", [], ["a"], ["a", 1], ["a", "a"], ["a"] * 70_000], ids=lambda n: str(n)[:9]
)
def test_names_that_are_none(names: object) -> None:
    with pytest.raises(ValueError, match="class"):
        check_classes(names)


def measured() -> Measured:
    """Of 5 classes; 3 of class 1 are taken for 4, 2 of class 0 for 1, 1 of 3 for 0."""
    labels = [0] * 6 + [1] * 5 + [2] * 4 + [3] * 3 + [4] * 2
    found = [1, 1, 0, 0, 0, 0, 4, 4, 4, 1, 1, 2, 2, 2, 2, 0, 3, 3, 4, 4]
    shares = np.full((20, 5), 0.1, np.float32)
    shares[np.arange(20), found] = 0.6
    return Measured(shares, np.array(labels), np.arange(20))


def test_what_is_measured_is_a_plain_count() -> None:
    one = measured()
    right = sum(int(a == b) for a, b in zip(one.labels, one.found, strict=True))
    assert one.right == pytest.approx(right / 20)
    assert one.class_mean == pytest.approx((4 / 6 + 2 / 5 + 1 + 2 / 3 + 1) / 5)
    wanted = -np.mean([np.log(0.6 if a == b else 0.1) for a, b in zip(one.labels, one.found)])  # noqa: B905
    assert one.loss == pytest.approx(wanted, rel=1e-5)


def test_the_commonest_mistakes_come_first() -> None:
    assert most_confused(measured(), 2) == [(1, 4, 3), (0, 1, 2)]
    assert most_confused(measured(), 9) == [(1, 4, 3), (0, 1, 2), (3, 0, 1)]


def test_the_matrix_counts_pictures_of_a_class_taken_for_another() -> None:
    one = measured()
    table = confusion_among(one, np.arange(5))
    for given in range(5):
        for named in range(5):
            times = sum(
                int(a == given and b == named) for a, b in zip(one.labels, one.found, strict=True)
            )
            assert table[given, named] == times
    shown = worth_showing(one, 3)
    assert shown.tolist() == [0, 1, 4]
    assert np.array_equal(confusion_among(one, shown), table[np.ix_(shown, shown)])


def test_without_mistakes_there_are_none() -> None:
    sure = Measured(np.eye(3, dtype=np.float32), np.arange(3), np.arange(3))
    assert most_confused(sure, 5) == []
    assert confusion_among(sure, worth_showing(sure, 40)).tolist() == np.eye(3).tolist()
