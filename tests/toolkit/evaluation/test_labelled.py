"""Which pictures are labelled with what, and which of them are alike."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolkit.errors import InputError
from toolkit.evaluation.alike import NEAR, NEAR_PART, THUMBNAIL, group_alike
from toolkit.evaluation.labelled import LabelledPictures, find_labelled, read_labelled
from toolkit.preprocess import Preprocessing

SPEC = Preprocessing(16, 16)


def save(path: Path, seed: int, size: int = 24, **settings: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(path, **settings)
    return path


def read(source: Path, group_by: str = "none") -> LabelledPictures:
    return read_labelled(find_labelled(source, group_by), SPEC, lambda _: None)


def test_a_class_is_a_folder_with_all_below_it(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "a.png", 1)
    save(tmp_path / "cat" / "deep" / "index" / "b.png", 2)
    save(tmp_path / "dog" / "c.PNG", 3)
    save(tmp_path / ".hidden" / "d.png", 4)
    save(tmp_path / "dog" / ".e.png", 5)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    found = read(tmp_path)
    assert [file.path.name for file in found.files] == ["a.png", "b.png", "c.PNG"]
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1]
    assert found.set_aside == ((str(tmp_path / "empty"), "no picture lies in it"),)


def test_what_take_gets_is_the_pictures_in_their_order(tmp_path: Path) -> None:
    for number in range(70):  # more than a batch
        save(tmp_path / f"{number % 2}" / f"{number:02}.png", number)
    rows: list[NDArray[np.uint8]] = []
    done: list[int] = []
    found = read_labelled(find_labelled(tmp_path), SPEC, rows.append, done.append)
    images = np.concatenate(rows)
    assert images.shape == (70, 16, 16, 3)
    assert done[-1] == 70
    for row, file in enumerate(found.files):
        whole = np.asarray(Image.open(file.path).convert("RGB"))
        assert np.array_equal(images[row], SPEC.fit(whole))


def test_strays_and_unreadable_pictures_are_set_aside(tmp_path: Path) -> None:
    save(tmp_path / "stray.png", 1)
    for name in ("cat", "dog"):
        save(tmp_path / name / "good.png", len(name) + ord(name[0]))
    (tmp_path / "cat" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = read(tmp_path)
    assert len(found.files) == 2
    reasons = {Path(path).name: why for path, why in found.set_aside}
    assert set(reasons) == {"stray.png", "broken.jpg", "gone.png"}
    assert "no folder of a class" in reasons["stray.png"]
    assert "No such file" in reasons["gone.png"]


def test_links_are_followed_for_a_class_and_no_deeper(tmp_path: Path) -> None:
    save(tmp_path / "data" / "elsewhere" / "a.png", 1)
    folder = tmp_path / "labels"
    save(folder / "dog" / "b.png", 2)
    (folder / "cat").symlink_to(tmp_path / "data" / "elsewhere")
    (folder / "dog" / "loop").symlink_to(folder)
    assert [file.label for file in read(folder).files] == ["cat", "dog"]


@pytest.mark.skipif(os.name != "posix", reason="names that are no UTF-8")
def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ca\xfft"))
    save(odd / "a.png", 1)
    save(tmp_path / "dog" / "b.png", 2)
    assert read(tmp_path).classes == ("ca\\xfft", "dog")


@pytest.mark.parametrize("classes", [[], ["cat"]], ids=["none", "one"])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, classes: list[str]) -> None:
    for name in classes:
        save(tmp_path / name / "a.png", 1)
    with pytest.raises(InputError, match="nothing to tell apart"):
        find_labelled(tmp_path)


def test_a_class_of_which_nothing_can_be_read_does_not_count(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "a.png", 1)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match="one class, 'cat'"):
        read(tmp_path)


def test_a_csv_file(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a b.png", 1)
    outside = save(tmp_path / "c.png", 2)
    table = tmp_path / "in" / "labels.csv"
    lines = ["path,label,group", '"a b.png",cat,v1', f"{outside},dog,v1", "missing.png,dog,"]
    table.write_text("\ufeff" + "\n".join(lines))
    found = read(table)
    assert [(file.label, file.group) for file in found.files] == [("cat", "v1"), ("dog", "v1")]
    assert found.groups.tolist() == [0, 0]
    assert [Path(path).name for path, _ in found.set_aside] == ["missing.png"]


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_separators_and_labels_are_taken_as_they_stand(tmp_path: Path, separator: str) -> None:
    labels = ["a", "a/", "./a", " a"]
    for number in range(4):
        save(tmp_path / f"{number}.png", number)
    lines = [f"{number}.png{separator}{label}" for number, label in enumerate(labels)]
    (tmp_path / "labels.csv").write_text("\n".join([f"path{separator}label", *lines]))
    assert [file.label for file in read(tmp_path / "labels.csv").files] == labels


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,class\na.png,cat\n", "no columns path and label"),
        ("path,label\na.png,\n", "lacks a path or a label"),
        ("path,label\na.png,cat\na.png,dog\n", "'dog'.*'cat'"),
        ('path,label\n"a.png,cat\n', "no line of a CSV file"),
        ("", "no columns"),
    ],
    ids=["columns", "empty label", "two labels", "quotes", "empty"],
)
def test_a_csv_file_that_cannot_be_used(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(InputError, match=words):
        find_labelled(tmp_path / "labels.csv")


def test_a_line_that_comes_twice_is_one_picture(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    save(tmp_path / "b.png", 2)
    (tmp_path / "labels.csv").write_text("path,label\na.png,x\na.png,x\nb.png,y\n")
    assert len(read(tmp_path / "labels.csv").files) == 2


def test_copies_other_sizes_and_other_qualities_are_alike(tmp_path: Path) -> None:
    first = save(tmp_path / "x" / "a.png", 1, 64)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "copy.png").write_bytes(first.read_bytes())
    save(tmp_path / "y" / "large.png", 1, 200)
    save(tmp_path / "y" / "poor.jpg", 1, 64, quality=75)
    save(tmp_path / "y" / "other.png", 2, 64)
    with Image.open(first) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "y" / "mirror.png")
        picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "y" / "upside.png")
    found = read(tmp_path)
    names = [file.path.name for file in found.files]
    together = {name for name, group in zip(names, found.groups, strict=True) if group == 0}
    assert together == {"a.png", "copy.png", "large.png", "poor.jpg", "mirror.png"}


def test_pictures_of_a_folder_below_a_class_stay_together(tmp_path: Path) -> None:
    for number, place in enumerate(("x/v1/a", "x/v1/b", "x/v2/c", "x/d", "y/e")):
        save(tmp_path / f"{place}.png", number)
    assert len(set(read(tmp_path).groups.tolist())) == 5
    groups = read(tmp_path, "folder")
    named = dict(zip([f.path.stem for f in groups.files], groups.groups.tolist(), strict=True))
    assert named["a"] == named["b"]
    assert len(set(named.values())) == 4


def test_groups_are_those_of_a_plain_search_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    middles = rng.integers(20, 230, (12, 1, THUMBNAIL, THUMBNAIL, 3))
    noise = np.array([0, 1, 3, 9]).reshape(1, 4, 1, 1, 1)
    thumbnails = (middles + noise * rng.normal(size=(12, 4, THUMBNAIL, THUMBNAIL, 3))).reshape(
        48, THUMBNAIL, THUMBNAIL, 3
    )
    parts = thumbnails[:40], thumbnails[40:, :, ::-1], thumbnails[:5]  # 3 of 4 noises each way
    thumbnails = np.concatenate(parts).clip(0, 255).astype(np.uint8)
    flat, mirrored = (
        rows.reshape(53, -1).astype(np.float64) for rows in (thumbnails, thumbnails[:, :, ::-1])
    )
    most = np.minimum(NEAR, NEAR_PART * flat.std(1))
    apart = np.sqrt(
        [[min(((a - b) ** 2).mean() for b in ways) for ways in zip(flat, mirrored)] for a in flat]  # noqa: B905
    )
    near = apart <= np.minimum(most[:, None], most[None]) + 1e-6
    wanted = list(range(53))
    for _ in range(53):  # until nothing changes: the least row that can be reached
        wanted = [min(wanted[j] for j in range(53) if near[i, j]) for i in range(53)]
    assert group_alike(thumbnails).tolist() == wanted
    assert 12 < len(set(wanted)) < 48


def test_foggy_pictures_that_differ_are_apart() -> None:
    rng = np.random.default_rng(0)
    foggy = rng.integers(118, 123, (50, THUMBNAIL, THUMBNAIL, 3))
    assert len(set(group_alike(foggy.astype(np.uint8)).tolist())) == 50


def test_many_equal_pictures_are_one_group() -> None:
    assert set(group_alike(np.zeros((5000, THUMBNAIL, THUMBNAIL, 3), np.uint8)).tolist()) == {0}


def test_no_pictures_are_no_groups() -> None:
    assert group_alike(np.zeros((0, THUMBNAIL, THUMBNAIL, 3), np.uint8)).shape == (0,)
