"""Lineage of a patch, against the catalog, the files and the run as they are."""

import hashlib
import json
import sqlite3

import numpy as np
import pytest

from indexes.build.build import build
from indexes.search.explain import explain
from indexes.search.index import open_index
from toolkit.errors import InputError


@pytest.fixture
def filled(tmp_path, pictures, pair, shard, embedder):
    build(tmp_path / "index", pictures(2), embedder)
    pairs = [pair(1, (0.0, 1.0)), pair(1, (2.0, 3.0)), pair(2, (0.0, 1.0))]
    shard(tmp_path / "p" / "s.tar", pairs)
    build(tmp_path / "index", [tmp_path / "p"], embedder)
    return tmp_path / "index"


def explained(filled, patch):
    with open_index(filled) as index:
        return explain(index.store, patch)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_image(tmp_path, filled, embedder):
    found = explained(filled, 2)
    path = tmp_path / "pictures" / "0001.png"
    assert (found.input.path, found.input.kind) == (str(path), "image")
    assert (found.input.reading, found.input.sha256) == ("whole", sha256(path))
    assert (found.source.path, found.source.sha256) == (str(path), sha256(path))
    assert (found.source.state, found.source.size_bytes) == ("same", path.stat().st_size)
    assert [sighting.id for sighting in found.sightings] == [2]
    assert found.labels == []
    assert found.card.fingerprint == embedder.card.fingerprint
    json.dumps(found.as_json())


def test_a_sighting_of_a_track(tmp_path, filled):
    found = explained(filled, 4)
    assert (found.input.kind, found.input.path) == ("shard", str(tmp_path / "p" / "s.tar"))
    assert found.input.sha256 == sha256(tmp_path / "p" / "s.tar")
    assert found.source.path == "clips/street.mp4"
    assert found.source.sha256 == hashlib.sha256(b"street").hexdigest()
    assert (found.source.state, found.source.size_bytes) == ("missing", None)
    assert found.source.camera == "street"
    assert [sighting.time_s for sighting in found.sightings] == [0.0, 1.0, 2.0, 3.0]
    assert {sighting.track for sighting in found.sightings} == {"street-001"}
    assert found.place.time_s == 1.0


def test_its_row_of_its_segment_holds_its_vector(filled):
    import faiss

    with open_index(filled) as index:
        for patch in range(1, 9):
            found = explain(index.store, patch)
            assert found.segment is not None
            flat = faiss.read_index(str(filled / "segments" / f"{found.segment.stem}.flat.faiss"))
            (vector,) = index.vectors_of([patch])
            np.testing.assert_array_equal(flat.reconstruct(found.row), vector)


def test_a_changed_source_is_told_from_the_same(tmp_path, filled):
    path = tmp_path / "pictures" / "0001.png"
    path.write_bytes(path.read_bytes() + b"more")
    found = explained(filled, 2)
    assert (found.source.state, found.source.size_bytes) == ("changed", path.stat().st_size)
    path.unlink()
    path.mkdir()
    assert explained(filled, 2).source.state == "missing"


def test_a_source_whose_bytes_nobody_knows(tmp_path, filled):
    connection = sqlite3.connect(filled / "catalog.sqlite")
    connection.execute("UPDATE sources SET sha256 = NULL")
    connection.commit()
    connection.close()
    assert explained(filled, 2).source.state == "unknown"
    assert explained(filled, 4).source.state == "missing"


def test_labels_with_their_batches_and_which_of_them_counts(filled):
    connection = sqlite3.connect(filled / "catalog.sqlite")
    (track,) = connection.execute("SELECT id FROM tracks WHERE name = 'street-001'").fetchone()
    connection.execute(
        "INSERT INTO label_batches VALUES (1, 10.0, 'import', '{}'), (2, 20.0, 'spread', '{}'), "
        "(3, 30.0, 'import', '{}'), (4, 40.0, 'spread', '{}')"
    )
    insert = "INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?, ?)"
    given = [
        (1, 1, track, None, "cat", "given", 1.0),
        (2, 2, track, None, "dog", "spread", 0.7),
        (3, 3, track, None, "cow", "given", 1.0),
        (4, 4, track, None, "hen", "spread", 0.9),
        (5, 2, None, 1, "old", "spread", 0.6),
        (6, 4, None, 1, "new", "spread", 0.8),
        (7, 2, None, 2, "stale", "spread", 0.8),
    ]
    connection.executemany(insert, given)
    connection.commit()
    connection.close()
    for patch, words, counts in (
        (4, ["hen", "cow", "dog", "cat"], "cow"),
        (1, ["new", "old"], "new"),
        (2, ["stale"], None),
        (7, [], None),
    ):
        found = explained(filled, patch)
        assert [label.label for label in found.labels] == words
        assert [label.label for label in found.labels if label.counts] == [counts] * bool(counts)
        assert found.place.label == counts
    (newest, *_) = explained(filled, 4).labels
    assert (newest.batch, newest.made_s, newest.kind) == (4, 40.0, "spread")
    assert (newest.origin, newest.confidence) == ("spread", 0.9)


@pytest.mark.parametrize("patch", [0, 9, 2**63 - 1])
def test_an_unknown_id_is_an_error(filled, patch):
    with pytest.raises(InputError, match=f"no patch {patch}"):
        explained(filled, patch)


def test_a_removed_patch_is_unknown(filled):
    connection = sqlite3.connect(filled / "catalog.sqlite")
    connection.execute("DELETE FROM patches WHERE id = 4")
    connection.execute("INSERT INTO tombstones VALUES (4)")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="no patch 4"):
        explained(filled, 4)
    assert [sighting.time_s for sighting in explained(filled, 3).sightings] == [0.0, 2.0, 3.0]
