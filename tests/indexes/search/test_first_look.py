"""How often a store is asked, and how surely, until there are so many different things."""

import numpy as np
import pytest

from indexes.records import Nearest
from indexes.search.best import best_of_each
from indexes.search.settings import SearchSettings


class Ranked:
    """A store whose patches 0, 1, ... come in this order, with the things given."""

    def __init__(self, things):
        self.things = np.array(things, np.int64)
        self.looks = []

    def nearest(self, queries, count, only, sure):
        assert only.is_empty
        self.looks.append((count, sure))
        patches = np.arange(min(count, len(self.things)))
        rows = (1 - patches / 1e5, patches, self.things[patches])
        scores, patches, things = (np.tile(row, (len(queries), 1)) for row in rows)
        return Nearest(scores.astype(np.float32), patches, things)


QUERY = np.eye(1, 4, dtype=np.float32)


def found(store, k, settings):
    (best,) = best_of_each(store, QUERY, k, settings)
    return [patch for _, patch, _ in best]


def test_sixteen_sightings_of_each_track_are_one_look():
    store = Ranked(np.repeat(np.arange(1, 100), 16))
    assert found(store, 10, SearchSettings()) == list(range(0, 160, 16))
    assert store.looks == [(160, 15)]


def test_more_sightings_are_looked_up_deeper_and_as_surely():
    store = Ranked(np.repeat(np.arange(1, 100), 40))
    assert found(store, 10, SearchSettings()) == list(range(0, 400, 40))
    assert store.looks == [(160, 15), (640, 60)]


def test_patches_by_themselves_are_all_sure_and_their_equals_are_looked_up_too():
    store = Ranked(-np.arange(100))
    assert found(store, 10, SearchSettings(group_tracks=False)) == list(range(10))
    assert store.looks == [(18, 10)]


@pytest.mark.parametrize("own", [5, 100])
def test_what_is_passed_over_does_not_make_the_rest_less_sure(own):
    store = Ranked(-np.arange(1000))
    settings = SearchSettings(group_tracks=False, without=frozenset(range(own)))
    assert found(store, 10, settings) == list(range(own, own + 10))
    assert all(count == sure for count, sure in store.looks)


def test_an_empty_store_is_asked_once():
    store = Ranked([])
    assert found(store, 10, SearchSettings()) == []
    assert len(store.looks) == 1
