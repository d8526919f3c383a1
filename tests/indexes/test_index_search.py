"""Search against a naive sort over plain cosines, with groups, exclusions and floors."""

import sqlite3

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.settings import BuildSettings
from indexes.search.index import open_index
from indexes.search.settings import SearchSettings
from toolkit.errors import InputError, MismatchError, UsageError
from toolkit.images import decode_image

KEYS = ["rank", "score", "id", "source", "time_s", "box", "track", "label", "camera"]


@pytest.fixture
def filled(tmp_path, pictures, pair, shard, embedder):
    """Two builds: 9 images, then 3 tracks of which the first has 40 patches."""
    long_track = [pair(1, (float(t), float(t + 1))) for t in range(39)]
    others = [pair(2, (0.0, 1.0)), pair(3, (0.0, 1.0))]
    build(tmp_path / "index", pictures(9), embedder)
    shard(tmp_path / "patches" / "s.tar", [*long_track, *others])
    build(tmp_path / "index", [tmp_path / "patches"], embedder, BuildSettings(batch=7))
    return tmp_path / "index"


def everything(index):
    """Every patch: (id, track, vector), read back with plain FAISS and NumPy."""
    import faiss

    connection = sqlite3.connect(index / "catalog.sqlite")
    stems = [stem for (stem,) in connection.execute("SELECT stem FROM segments")]
    query = "SELECT patches.id, name FROM patches LEFT JOIN tracks ON tracks.id = track"
    tracks = dict(connection.execute(query))
    connection.close()
    patches = []
    for stem in stems:
        flat = faiss.read_index(str(index / "segments" / f"{stem}.flat.faiss"))
        rows = np.load(index / "segments" / f"{stem}.rows.npy")
        patches += [(int(key), tracks[key], flat.reconstruct(i)) for i, (key, _) in enumerate(rows)]
    return patches


def naive(patches, query, k, *, grouped=True, floor=-2.0):
    """The oracle: sort everything, then walk down."""
    query = query.astype(np.float64) / np.linalg.norm(query)
    scored = sorted(((float(v @ query), key, track) for key, track, v in patches), reverse=True)
    hits, seen = [], set()
    for score, key, track in scored:
        if score < floor:
            continue
        if grouped and track is not None and track in seen:
            continue
        seen.add(track)
        hits.append((key, score))
    return hits[:k]


def queries(count):
    return np.random.default_rng(5).standard_normal((count, 16)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 3, 12, 51, 500])
@pytest.mark.parametrize(
    ("options", "oracle"),
    [
        ({}, {}),
        ({"group_tracks": False}, {"grouped": False}),
        ({"min_score": 0.1}, {"floor": 0.1}),
        ({"group_tracks": False, "min_score": -0.2}, {"grouped": False, "floor": -0.2}),
    ],
)
def test_search_equals_a_naive_sort(filled, embedder, k, options, oracle):
    patches = everything(filled)
    assert len(patches) == 9 + 40 + 4
    with open_index(filled) as index:
        for query in queries(15):
            hits = index.search(query, k, SearchSettings(**options))
            expected = naive(patches, query, k, **oracle)
            assert [hit.id for hit in hits] == [key for key, _ in expected]
            assert [hit.rank for hit in hits] == list(range(1, len(expected) + 1))
            scores = [score for _, score in expected]
            np.testing.assert_allclose([hit.score for hit in hits], scores, atol=2e-6)


def test_a_track_with_many_patches_does_not_crowd_the_others_out(filled, embedder):
    """Next to the long track, a plain top-k would hold nothing but it."""
    patches = everything(filled)
    centre = np.mean([v for _, track, v in patches if track == "street-001"], axis=0)
    with open_index(filled) as index:
        hits = index.search(centre, 12)
    assert len(hits) == 12
    assert sum(hit.place.track == "street-001" for hit in hits) == 1


def test_an_indexed_picture_finds_itself_first(filled, pictures, picture_of, embedder):
    with open_index(filled) as index:
        hit = index.search(embedder.embed(picture_of(4, 32, 32)[None])[0], 1)[0]
        assert hit.place.source.endswith("0004.png")
        assert hit.score == pytest.approx(1, abs=0.02)
        small = decode_image(index.thumbnail(hit.id), name="thumbnail")
    assert small.shape == (40, 56, 3)
    assert np.abs(small.astype(int) - picture_of(4).astype(int)).mean() < 8


def test_a_hit_has_exactly_the_contract(filled, embedder):
    patches = everything(filled)
    vector = next(v for key, track, v in patches if track == "street-002")
    with open_index(filled) as index:
        (hit,) = index.search(vector, 1)
    content = hit.as_json()
    assert list(content) == KEYS
    assert content == {
        "rank": 1,
        "score": pytest.approx(1.0),
        "id": hit.id,
        "source": "clips/street.mp4",
        "time_s": 0.0,
        "box": [20.0, 5.0, 68.0, 53.0],
        "track": "street-002",
        "label": None,
        "camera": "street",
    }
    assert content["score"] <= 1


def test_scores_do_not_depend_on_the_length_of_the_query(filled):
    query = queries(1)[0]
    with open_index(filled) as index:
        short, long = (index.search(query * scale, 5) for scale in (1e-3, 1e3))
    assert [hit.id for hit in short] == [hit.id for hit in long]
    np.testing.assert_allclose([h.score for h in short], [h.score for h in long], rtol=1e-5)


def test_an_empty_index_gives_no_hits(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(1), embedder)
    connection = sqlite3.connect(tmp_path / "index" / "catalog.sqlite")
    for table in ("thumbnails", "patches", "segments"):
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.close()
    with open_index(tmp_path / "index") as index:
        assert len(index) == 0
        assert index.search(queries(1)[0], 5) == []


def test_one_patch_is_found_whatever_k(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(1), embedder)
    with open_index(tmp_path / "index") as index:
        assert len(index.search(queries(1)[0], 1)) == len(index.search(queries(1)[0], 99)) == 1


def remove(index, patches):
    """As a removal leaves it: rows of the segments stand for nothing any more."""
    connection = sqlite3.connect(index / "catalog.sqlite")
    for patch in patches:
        connection.execute("DELETE FROM patches WHERE id = ?", (patch,))
        connection.execute("INSERT INTO tombstones VALUES (?)", (patch,))
    connection.commit()
    connection.close()


def test_what_was_removed_is_not_found(filled):
    patches = everything(filled)
    query = queries(1)[0]
    ((best, _),) = naive(patches, query, 1)
    remove(filled, [best])
    with open_index(filled) as index:
        remaining = [p for p in patches if p[0] != best]
        expected = [key for key, _ in naive(remaining, query, 4)]
        assert [hit.id for hit in index.search(query, 4)] == expected
        with pytest.raises(InputError, match=f"no patch {best}"):
            index.vectors_of([best])


def test_a_patch_that_the_catalog_has_lost_is_damage(filled):
    """Not removed, but gone: the rest is found where that was asked for, and it is said."""
    patches = everything(filled)
    query = queries(1)[0]
    ((best, _),) = naive(patches, query, 1)
    connection = sqlite3.connect(filled / "catalog.sqlite")
    connection.execute("DELETE FROM patches WHERE id = ?", (best,))
    connection.commit()
    connection.close()
    with open_index(filled) as index, pytest.raises(MismatchError, match=f"patch {best}"):
        index.search(query, 4)
    with open_index(filled, allow_partial=True) as index:
        assert index.left_out == ()
        assert [hit.rank for hit in index.search(query, 4)] == [1, 2, 3]
        assert len(index.left_out) == 1
        assert f"patch {best}" in index.left_out[0]


def test_labels_come_with_the_hits(filled):
    """A given label stands before a spread one, whichever is newer."""
    connection = sqlite3.connect(filled / "catalog.sqlite")
    connection.execute(
        "INSERT INTO label_batches VALUES (1, 0, 'import', '{}'), (2, 0, 'spread', '{}')"
    )
    for batch, origin, word in ((1, "given", "cat"), (2, "spread", "dog")):
        connection.execute(
            "INSERT INTO labels (batch, track, patch, label, origin, confidence) "
            "SELECT DISTINCT ?, track, iif(track IS NULL, id, NULL), "
            "? || coalesce(track, -id), ?, 1 FROM patches WHERE ? = 2 OR id % 2",
            (batch, word, origin, batch),
        )
    connection.commit()
    things = dict(connection.execute("SELECT id, coalesce(track, -id) FROM patches"))
    odd = {things[key] for key in things if key % 2}
    connection.close()
    with open_index(filled) as index:
        hits = index.search(queries(1)[0], 12)
    for hit in hits:
        thing = things[hit.id]
        assert hit.place.label == f"{'cat' if thing in odd else 'dog'}{thing}"
    assert {hit.place.label[:3] for hit in hits} == {"cat", "dog"}


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_a_usage_error(filled, k):
    with open_index(filled) as index, pytest.raises(UsageError, match=f"k is {k}"):
        index.search(queries(1)[0], k)


@pytest.mark.parametrize("shape", [(15,), (17,), (1, 15), (0, 16), (1, 1, 16), ()])
def test_a_query_of_another_shape_is_a_mismatch(filled, shape):
    with open_index(filled) as index, pytest.raises(MismatchError, match="shape"):
        index.search(np.ones(shape, np.float32), 3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_query_that_is_no_direction_is_an_input_error(filled, value):
    query = queries(1)[0]
    query[:] = value
    with open_index(filled) as index, pytest.raises(InputError, match="length"):
        index.search(query, 3)


def test_a_query_by_another_model_is_refused(filled, embedder, other_embedder):
    with open_index(filled) as index:
        index.check_model(embedder.card)
        with pytest.raises(MismatchError) as caught:
            index.check_model(other_embedder.card)
    assert caught.value.exit_code == 5
    for card in (embedder.card, other_embedder.card):
        assert card.fingerprint[:12] in str(caught.value)


def test_an_unknown_id_has_no_thumbnail(filled):
    with open_index(filled) as index:
        assert index.thumbnail(12345) is None


def test_an_open_index_is_a_snapshot_that_a_build_does_not_disturb(
    filled, pictures, embedder, other_embedder
):
    query = queries(1)[0]
    with open_index(filled) as index:
        before = index.search(query, 20)
        build(filled, pictures([77]), embedder)
        build(filled, pictures([78]), other_embedder, BuildSettings(overwrite=True))
        build(filled, pictures([79]), other_embedder)
        assert index.search(query, 20) == before
        assert index.thumbnail(before[0].id)[:2] == b"\xff\xd8"
    with open_index(filled) as index:
        assert len(index) == 2


def test_an_index_on_read_only_media_can_be_searched(filled, monkeypatch):
    """Without the right to write, no file is made beside the catalog."""
    query = queries(1)[0]
    with open_index(filled) as index:
        expected = index.search(query, 5)
    before = sorted(path.name for path in filled.iterdir())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with open_index(filled) as index:
        assert index.search(query, 5) == expected
        assert sorted(path.name for path in filled.iterdir()) == before


def test_searching_leaves_no_file_behind_and_changes_none(filled):
    def state():
        return {path: path.read_bytes() for path in filled.rglob("*") if path.is_file()}

    before = state()
    with open_index(filled) as index:
        index.search(queries(1)[0], 5)
    assert state() == before


def test_only_patches_that_are_there_are_counted(filled):
    remove(filled, [1, 2, 50])
    with open_index(filled) as index:
        assert len(index) == 9 + 40 + 4 - 3
