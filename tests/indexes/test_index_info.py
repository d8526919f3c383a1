"""What an index says of itself, against the files and tables that it lies in."""

import sqlite3

import pytest

from indexes.build.budget import Wish
from indexes.build.build import build
from indexes.build.settings import BuildSettings
from indexes.info import info
from indexes.upgrade.settings import UpgradeSettings
from indexes.upgrade.upgrade import upgrade
from toolkit.errors import MismatchError


def sizes(index, ending):
    files = (index / "segments").iterdir()
    return sum(path.stat().st_size for path in files if path.name.endswith(ending))


@pytest.mark.parametrize(
    ("key", "walks", "base"),
    [("Flat", True, False), ("HNSW4", True, True), ("HNSW4_SQ8", False, True),
     ("IVF4,Flat", False, True), ("IVF4,SQ8", False, True)],
)  # fmt: skip
def test_memory_is_what_the_plan_counts(tmp_path, pictures, embedder, key, walks, base):
    """The links of a graph, and the exact vectors that it jumps about in."""
    index = tmp_path / "index"
    build(index, pictures(40), embedder, BuildSettings(wish=Wish(key=key)))
    made = info(index)
    assert made.key == key
    assert (sizes(index, ".index.faiss") > 0) is base
    expected = walks * sizes(index, ".flat.faiss") + sizes(index, ".index.faiss")
    assert made.memory_bytes == expected


def test_mapped_vectors_are_told_until_they_are_embedded(
    tmp_path, pictures, embedder, other_embedder
):
    index = tmp_path / "index"
    build(index, pictures(120), embedder)
    assert info(index).as_json()["mapped"] == 0
    report = upgrade(index, other_embedder, UpgradeSettings(map_first=True, sample=60))
    assert info(index).as_json()["mapped"] == report.mapped == 60
    upgrade(index, other_embedder)
    assert info(index).as_json()["mapped"] == 0


def test_a_number_of_mapped_vectors_that_is_none_is_damage(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(1), embedder)
    connection = sqlite3.connect(tmp_path / "index" / "catalog.sqlite", isolation_level=None)
    for text in ("-1", "many", "٣", "9" * 5000):
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('mapped', ?)", (text,))
        with pytest.raises(MismatchError, match="no number of mapped"):
            info(tmp_path / "index")
    connection.close()
