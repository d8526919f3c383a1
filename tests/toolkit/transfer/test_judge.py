"""A classifier on pictures that it has not learned from, against a plain loop."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import InputError, MismatchError
from toolkit.evaluation.labelled import LabelledFile, LabelledPictures
from toolkit.transfer.head import ClassifierHead
from toolkit.transfer.judge import judge
from toolkit.transfer.run import LABELS_NAME, LabelRecord, SeenPicture, TransferFolder
from toolkit.workspace import write_json

MARK = "f" * 64
NAMES = ("cat", "dog", "new")  # of the pictures; the classifier knows dog and cat, in that order


def make_run(folder: Path, learned: list[str], held_out: list[str]) -> TransferFolder:
    head = ClassifierHead(("dog", "cat"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    head.write(folder, MARK, {})
    seen = [
        SeenPicture(name, name, 0, side) for side, names in enumerate((learned, held_out))
        for name in names
    ]  # fmt: skip
    record = LabelRecord("labels", "labels", "", head.classes, seen)
    write_json(folder / LABELS_NAME, record.as_json())
    return TransferFolder(folder)


def pictures(labels: list[int], groups: list[int]) -> LabelledPictures:
    names = [f"p{row}" for row in range(len(labels))]
    files = tuple(LabelledFile(Path(name), NAMES[label]) for name, label in zip(names, labels))  # noqa: B905
    return LabelledPictures(files, NAMES, np.array(labels), np.array(groups), tuple(names))


def test_what_was_learned_and_what_is_alike_do_not_count(tmp_path: Path) -> None:
    run = make_run(tmp_path, learned=["p1"], held_out=["p2"])
    # p1 was learned and p4 is like it; p5 is of a class without a name.
    given = pictures([0, 0, 1, 1, 0, 2], [0, 1, 2, 3, 1, 5])
    as_dog, as_cat = [1.0, 0.0], [0.0, 1.0]
    vectors = np.array([as_cat, as_cat, as_dog, as_cat, as_cat, as_dog], np.float32)
    found = judge(run, MARK, given, vectors)
    right = [as_cat == as_cat, as_dog == as_dog, as_cat == as_dog]  # p0, p2, p3
    assert found.measured.right == pytest.approx(sum(right) / 3)
    assert found.measured.groups.tolist() == [0, 2, 3]
    assert found.learned == 2
    assert found.unknown == ("new",)


def test_nothing_left_to_measure_on_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path, learned=["p0"], held_out=[])
    with pytest.raises(InputError, match="learned from 1 of 2"):
        judge(run, MARK, pictures([0, 2], [0, 1]), np.eye(2, dtype=np.float32))


def test_vectors_of_another_network_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, learned=[], held_out=[])
    with pytest.raises(MismatchError, match="another network"):
        judge(run, "e" * 64, pictures([0, 1], [0, 1]), np.eye(2, dtype=np.float32))
