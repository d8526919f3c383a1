"""Vectors in files; NumPy's and safetensors' own readers are the oracles."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from toolkit.errors import StorageError, UsageError
from toolkit.vector_file import write_vectors

READERS: dict[str, Callable[[Path], NDArray[np.float32]]] = {
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".safetensors": lambda path: load_file(path)["embeddings"],
}


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("parts", [[], [0], [1], [3, 0, 4, 1]], ids=["no", "empty", "one", "some"])
def test_what_is_written_is_read(suffix: str, parts: list[int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((count, 7), np.float32) for count in parts]
    path = tmp_path / f"v{suffix}"
    with write_vectors(path, 7) as writer:
        for batch in batches:
            writer.add(batch)
    assert writer.vectors == sum(parts)
    found = READERS[suffix](path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.concatenate([np.zeros((0, 7)), *batches]))


def test_the_longest_numbers_fit_the_header(tmp_path: Path) -> None:
    from toolkit.vector_file import _npy_header, _safetensors_header

    for header in (_npy_header, _safetensors_header):
        assert len(header(10**15, 65_536)) == 256


def test_a_view_is_written_by_rows(tmp_path: Path) -> None:
    vectors = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    with write_vectors(tmp_path / "v.npy", 3) as writer:
        writer.add(vectors)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), vectors)


def test_another_shape_or_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5 numbers"), write_vectors(tmp_path / "v.npy", 5) as w:
        w.add(np.zeros((2, 4), np.float32))
    with pytest.raises(UsageError, match=r"\.npy or \.safetensors"):
        write_vectors(tmp_path / "v.csv", 5).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_failure_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="2 numbers"), write_vectors(path, 2) as writer:
        writer.add(np.zeros((3, 9), np.float32))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StorageError), write_vectors(path / "below.npy", 2):
        pass
