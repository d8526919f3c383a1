"""Examples and negative ones to queries, and which patches are the query's own."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.settings import BuildSettings
from indexes.search.index import open_index
from indexes.search.pictures import Example, read_example
from indexes.search.queries import NEGATIVE_WEIGHT, make_queries
from indexes.search.question import Question, Side, own_patches, query_vectors
from indexes.sources import Reading
from toolkit.embedding import embed_images
from toolkit.errors import InputError, UsageError
from toolkit.records import Box


def draw(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)


def lengths(rows):
    return np.linalg.norm(rows, axis=1)


def test_the_mean_is_of_directions_not_of_lengths():
    rows = draw(3)
    scaled = rows * np.array([[1e-3], [1.0], [1e3]], np.float32)
    expected = sum(row / np.linalg.norm(row) for row in rows)
    (query,) = make_queries(scaled)
    np.testing.assert_allclose(query, expected / np.linalg.norm(expected), atol=1e-6)


def test_all_keeps_each_example():
    rows = draw(4)
    queries = make_queries(rows, combine="all")
    np.testing.assert_allclose(queries, rows / lengths(rows)[:, None], atol=1e-6)


@pytest.mark.parametrize("combine", ["mean", "all"])
def test_a_negative_is_taken_off_and_lowers_its_score(combine):
    wanted, unwanted = draw(3), draw(2, seed=1)
    plain = make_queries(wanted, combine=combine)
    away = (unwanted / lengths(unwanted)[:, None]).mean(axis=0)
    expected = plain - NEGATIVE_WEIGHT * away
    queries = make_queries(wanted, unwanted, combine)
    np.testing.assert_allclose(queries, expected / lengths(expected)[:, None], atol=1e-6)
    assert np.all(queries @ away < plain @ away)


def test_one_example_without_negatives_is_itself():
    row = draw(1)
    for combine in ("mean", "all"):
        queries = make_queries(row, draw(0), combine)
        np.testing.assert_allclose(queries, row / lengths(row)[:, None], atol=1e-7)


def test_examples_that_cancel_each_other_out():
    row = draw(1)
    with pytest.raises(InputError, match="cancel each other out"):
        make_queries(np.concatenate([row, -row]))


def test_a_negative_that_is_the_example_itself():
    rows = draw(3)
    with pytest.raises(InputError, match="is what is looked for"):
        make_queries(rows[:1], rows[:1] * 7)
    with pytest.raises(InputError, match="is what is looked for"):
        make_queries(rows, rows[2:], "all")
    make_queries(rows, rows[2:])  # the mean is something else


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_what_is_no_direction(value):
    rows = draw(3)
    rows[1] = value
    for wanted, unwanted in ((rows, None), (draw(1), rows)):
        with pytest.raises(InputError, match="length"):
            make_queries(wanted, unwanted)


def test_nothing_looked_for_is_a_usage_error():
    with pytest.raises(UsageError, match="Nothing is looked for"):
        Question(Side(), Side(patches=(3,)))


def test_pictures_and_patches_give_their_vectors(tmp_path, pictures, embedder):
    paths = pictures(5)
    build(tmp_path / "index", paths, embedder)
    example = read_example(str(paths[1]))
    with open_index(tmp_path / "index") as index:
        question = Question(Side((example,), (3,)), Side((), (5,)), "all")
        queries = query_vectors(index.store, question, embedder)
        stored = index.vectors_of([3, 5])
        expected = make_queries(
            np.concatenate([embed_images(embedder, [example.image]), stored[:1]]), stored[1:], "all"
        )
        np.testing.assert_array_equal(queries, expected)
        alone = Question(Side((), (2,)))
        assert not alone.has_pictures
        (hit, *_) = index.search(query_vectors(index.store, alone, None), 5)
        assert (hit.id, hit.score) == (2, pytest.approx(1.0))
        with pytest.raises(InputError, match="no patch 99"):
            query_vectors(index.store, Question(Side((), (99,))), None)


def test_an_image_leaves_out_the_patches_of_its_own_file(tmp_path, pictures, embedder):
    """Also where it is called by another name for the same path."""
    paths = pictures(4)
    build(tmp_path / "index", paths, embedder)
    with open_index(tmp_path / "index") as index:
        example = read_example(str(paths[2]))
        queries = embed_images(embedder, [example.image])
        (own,) = own_patches(index.store, Side((example,)), queries)
        assert index.store.places([own])[own].source.endswith("0002.png")
        other = tmp_path / "other.png"
        shutil.copy(paths[2], other)
        assert own_patches(index.store, Side((read_example(str(other)),)), queries) == set()


def test_a_relative_path_is_the_same_file(tmp_path, pictures, embedder, monkeypatch):
    paths = pictures(2)
    build(tmp_path / "index", paths, embedder)  # absolute
    monkeypatch.chdir(paths[0].parent)
    with open_index(tmp_path / "index") as index:
        example = read_example("0001.png")
        queries = embed_images(embedder, [example.image])
        assert len(own_patches(index.store, Side((example,)), queries)) == 1


def test_a_patch_leaves_out_its_whole_track(tmp_path, pair, shard, embedder):
    shard(tmp_path / "p" / "s.tar", [pair(1, (0.0, 1.0)), pair(1, (2.0, 3.0)), pair(2, (0.0, 1.0))])
    build(tmp_path / "index", [tmp_path / "p"], embedder)
    with open_index(tmp_path / "index") as index:
        own = own_patches(index.store, Side((), (2,)), index.vectors_of([2]))
        tracks = {key: place.track for key, place in index.store.places(range(1, 7)).items()}
        assert own == {key for key, track in tracks.items() if track == "street-001"}
        assert len(own) == 4


def test_a_moment_leaves_out_what_is_there_and_its_track(tmp_path, pair, shard, embedder):
    """Track 1 lies at x 10 to 58 and track 2 at x 20 to 68, so both boxes overlap; 9 does not."""
    pairs = [pair(1, (0.0, 4.0)), pair(9, (0.0, 4.0))]
    shard(tmp_path / "p" / "s.tar", pairs)
    build(tmp_path / "index", [tmp_path / "p"], embedder)
    image = np.zeros((40, 40, 3), np.uint8)
    path = Path("clips/street.mp4")
    queries = draw(1)
    with open_index(tmp_path / "index") as index:
        tracks = {key: place.track for key, place in index.store.places(range(1, 9)).items()}

        def own(time_s, box):
            side = Side((Example("x", image, path, time_s, box),))
            return {tracks[key] for key in own_patches(index.store, side, queries)}

        assert own(0.3, Box(12, 5, 60, 50)) == {"street-001"}
        assert own(0.3, Box(90, 5, 138, 50)) == {"street-009"}
        assert own(0.3, None) == {"street-001", "street-009"}
        assert own(2.0, None) == set()
        assert own(0.3, Box(300, 5, 350, 50)) == set()


def test_windows_of_one_image_that_lie_elsewhere_stay(tmp_path, pictures, embedder):
    from indexes.sources.cut import Cut

    (path,) = pictures(1)
    settings = BuildSettings(reading=Reading(cut=Cut(grids=((1, 2),))))
    build(tmp_path / "index", [path], embedder, settings)
    with open_index(tmp_path / "index") as index:
        left = read_example(str(path), Box(0, 0, 28, 40))
        own = own_patches(index.store, Side((left,)), draw(1))
        (place,) = index.store.places(list(own)).values()
        assert place.box == (0, 0, 28, 40)
        assert len(own_patches(index.store, Side((read_example(str(path)),)), draw(1))) == 2
