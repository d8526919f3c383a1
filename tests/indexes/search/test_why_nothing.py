"""Why nothing was found is the first thing that leaves nothing."""

import sqlite3

import numpy as np
import pytest

from indexes.records import Filter
from indexes.search.index import open_index
from indexes.search.nothing import why_nothing
from indexes.search.settings import SearchSettings

QUERY = np.eye(8, dtype=np.float32)[:1]


@pytest.mark.parametrize(
    ("only", "words"),
    [
        (Filter(sources=("clips/*", "x*")), None),
        (Filter(sources=("nowhere/*",)), "no patch is from a source like nowhere/*"),
        (Filter(cameras=("east", "west")), "no patch is of the camera east or west"),
        (Filter(times_s=(99, 100)), "no patch is of the time 99 to 100 s"),
        (Filter(times_s=(99, float("inf"))), "no patch is of the time 99 s"),
        (Filter(labels=("bird",)), "no patch has the label bird"),
        (Filter(cameras=("cam1",), labels=("bird",)), "no patch has the label bird"),
        (Filter(sources=("v1.mp4",), cameras=("cam2",)), "each filter lets some patches through"),
    ],
)
def test_the_filter_that_leaves_nothing_is_named(store_of, only, words):
    settings = SearchSettings(only=only)
    with open_index(store_of(1, 180, 2).path) as index:
        found = index.search(QUERY[0], 3, settings)
        assert bool(found) is (words is None)
        if words:
            assert words in why_nothing(index.store, QUERY, settings)


def test_the_best_score_is_told_where_the_floor_is_too_high(store_of):
    store = store_of(1, 180, 2)
    best = max(float(patch.vector[0]) for patch in store.patches)
    with open_index(store.path) as index:
        settings = SearchSettings(min_score=0.9999)
        assert index.search(QUERY[0], 1, settings) == []
        assert f"the best score is {best:.3f}" in why_nothing(index.store, QUERY, settings)


def test_nothing_but_the_query_itself(store_of):
    everything = frozenset(range(1, 181))
    settings = SearchSettings(without=everything)
    with open_index(store_of(1, 180, 2).path) as index:
        assert index.search(QUERY[0], 1, settings) == []
        assert "nothing but what the query" in why_nothing(index.store, QUERY, settings)


def test_an_empty_index(tmp_path, store_of):
    import shutil

    shutil.copytree(store_of(8, 1, 1).path, tmp_path / "index")
    connection = sqlite3.connect(tmp_path / "index" / "catalog.sqlite")
    connection.execute("DELETE FROM patches")
    connection.execute("INSERT INTO tombstones VALUES (1)")
    connection.commit()
    connection.close()
    with open_index(tmp_path / "index") as index:
        assert index.search(QUERY[0], 3) == []
        assert why_nothing(index.store, QUERY, SearchSettings()) == "the index is empty"
