"""No room left at many points of every write: the old index, or one at a commit, and a reason."""

import shutil

import pytest

from indexes.build.budget import Wish
from indexes.build.build import build
from indexes.build.compact import CompactSettings, compact
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from toolkit.errors import StorageError

INVERTED = Wish(key="IVF2,Flat")


def again(index, paths, embedder):
    build(index, paths, embedder, BuildSettings(batch=4, commit_vectors=8))


def merging(index, paths, embedder):
    build(index, paths, embedder, BuildSettings(wish=INVERTED, batch=4, commit_vectors=8))


def overwriting(index, paths, embedder):
    build(index, paths, embedder, BuildSettings(overwrite=True, batch=4))


def removing(index, paths, embedder):
    if verify(index).vectors == 17:
        remove(index, ["*/000*.png"])


def compacting(index, paths, embedder):
    compact(index, CompactSettings(wish=INVERTED))


# What may be there after: the 17 of two_segments, 8 more at each commit, and so on.
WRITES = {
    again: {17, 25, 33},
    merging: {17, 25, 33},
    overwriting: {17, 16},
    removing: {17, 8},
    compacting: {17},
}


@pytest.mark.parametrize(
    "points", [6, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_full_disk_leaves_a_whole_index(
    tmp_path, two_segments, pictures, embedder, largest_file, write, points
):
    paths = pictures(range(100, 116))
    refused = []
    size = (two_segments / "catalog.sqlite").stat().st_size
    for point in range(points):
        index = shutil.copytree(two_segments, tmp_path / f"{point:03d}")
        limit = round((2 * size) ** (point / max(points - 1, 1))) + 64
        try:
            with largest_file(limit):
                write(index, paths, embedder)
        except StorageError as error:
            refused.append(error)
        found = verify(index)
        assert found.problems == (), limit
        assert found.vectors in WRITES[write], limit
        write(index, paths, embedder)  # with room it goes on
        found = verify(index)
        assert (found.problems, found.leftovers) == ((), ())
        shutil.rmtree(index)
    assert 0 < len(refused) < points
    assert all("Cannot" in error.problem and error.mend for error in refused)
