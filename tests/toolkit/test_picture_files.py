"""Pictures of files and folders, in batches."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.errors import InputError
from toolkit.images import read_image
from toolkit.picture_files import find_pictures, read_batches
from toolkit.preprocess import Preprocessing

SPEC = Preprocessing(16, 20)


def write_picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def test_folders_are_walked_and_each_picture_comes_once(tmp_path: Path) -> None:
    names = ["b.png", "a.JPG", "deep/index/c.webp", ".hidden.png", ".cache/d.png", "index/e.png"]
    for name in [*names, "notes.txt"]:
        write_picture(tmp_path / name)
    (tmp_path / "round").symlink_to(tmp_path)
    found = find_pictures([tmp_path, tmp_path / "b.png", tmp_path / "notes.txt"])
    wanted = ["a.JPG", "b.png", "deep/index/c.webp", "notes.txt"]
    assert [str(path.relative_to(tmp_path)) for path in found] == wanted
    assert find_pictures([]) == []


def test_what_is_not_there_or_no_plain_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        find_pictures([tmp_path / "nothing.png"])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="no plain file"):
        find_pictures([tmp_path / "pipe.png"])
    assert find_pictures([tmp_path]) == []


@pytest.mark.parametrize("size", [1, 3, 7, 8, 100])
def test_batches_keep_the_order_and_set_aside(size: int, tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / f"{i}.png", i) for i in range(8)]
    paths[3].write_bytes(b"no picture")
    paths[6].unlink()
    batches = list(read_batches(paths, SPEC, size))
    assert max(len(batch.paths) + len(batch.unreadable) for batch in batches) == min(size, 8)
    good = [path for i, path in enumerate(paths) if i not in (3, 6)]
    assert [path for batch in batches for path in batch.paths] == good
    wanted = np.stack([SPEC.fit(read_image(path)) for path in good])
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), wanted)
    bad = [item for batch in batches for item in batch.unreadable]
    assert [path for path, _ in bad] == [paths[3], paths[6]]
    assert "not an image" in bad[0][1]


def test_no_pictures_give_no_batches() -> None:
    assert list(read_batches([], SPEC, 4)) == []


def test_a_bug_in_reading_is_no_unreadable_picture(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        raise KeyError(path)

    with pytest.raises(KeyError):
        list(read_batches([tmp_path / "a.png"], SPEC, 4, broken))  # type: ignore[arg-type]


def test_only_a_batch_is_read_ahead(tmp_path: Path) -> None:
    read: list[str] = []

    def spy(path: Path) -> np.ndarray:
        read.append(path.name)
        return np.zeros((4, 4, 3), np.uint8)

    batches = read_batches([tmp_path / str(i) for i in range(100)], SPEC, 5, spy)
    next(batches)
    assert len(read) <= 10
    batches.close()  # type: ignore[attr-defined]
