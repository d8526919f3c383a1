"""The best hits over any store: looked up by nearness, then chosen by what is wanted.

A store knows no tracks and no exclusions. So more patches are looked up than are wanted, and
what may not stand is passed over; where too few are left, more are looked up.
"""

import math
from collections.abc import Iterable

from indexes.search.settings import SearchSettings
from indexes.stores import PatchStore
from toolkit.embedding import Embeddings

Found = tuple[float, int, int]  # score, patch, thing, as `indexes.records.Nearest` has them

# Of a track so many patches may be near a query at once: looking up more costs little, looking
# up again costs a search. But where the k-th track is found by any of its sightings, missing
# some of them is no loss: only the first of them are sought with the effort that is sure.
_SIGHTINGS, _SURE = 16, 1.5
_OWN = 4  # the same where only those of the query itself are passed over
_SPARE = 8
_WIDER = 4
# Which of many equal patches come first depends on how deep a store looks. So all of them are
# looked up, but not where a large part of the index is the same picture.
_MOST_EQUAL = 64
_SLACK = 1e-6  # rounding may leave a cosine a little below what it is


def best_of_each(
    store: PatchStore, queries: Embeddings, k: int, settings: SearchSettings
) -> list[list[Found]]:
    """For each of the queries (Q, D), unit length, its k best patches, best first."""
    found: list[list[Found]] = [[] for _ in queries]
    rows = list(range(len(queries)))
    depth, sure = _first_look(k, settings)
    while rows:
        near = store.nearest(queries[rows], depth, settings.only, sure)
        all_seen = near.patches.shape[1] < depth
        columns = (near.scores.tolist(), near.patches.tolist(), near.things.tolist())
        again: list[int] = []
        for row, scores, patches, things in zip(rows, *columns, strict=True):
            nearest = zip(scores, patches, things, strict=True)
            found[row] = chosen = _walk(nearest, k, settings)
            # A score below the last of k says that all that equal it were seen.
            last = chosen[-1][0] if len(chosen) == k else settings.min_score - _SLACK
            enough = len(chosen) == k and depth >= k * _MOST_EQUAL
            if not (all_seen or enough or patches[-1] < 0 or scores[-1] < last):
                again.append(row)
        rows = again
        depth, sure = depth * _WIDER, sure * _WIDER
    return found


def _first_look(k: int, settings: SearchSettings) -> tuple[int, int]:
    """How many patches are looked up first, and how many of them are sought surely."""
    if settings.group_tracks:
        return k * _SIGHTINGS, math.ceil(k * _SURE)
    return (k * _OWN, k * _OWN) if settings.without else (k + _SPARE, k)


def best_of_all(
    store: PatchStore, queries: Embeddings, k: int, settings: SearchSettings
) -> list[Found]:
    """The k best patches over all queries (Q, D): each by the query that it is nearest to.

    A patch that is among them is so for that query too: the lists of each are enough.
    """
    each = best_of_each(store, queries, k, settings)
    if len(each) == 1:
        return each[0]
    nearest: dict[int, Found] = {}
    for item in sorted((item for row in each for item in row), key=lambda i: (-i[0], i[1])):
        nearest.setdefault(item[1], item)
    return _walk(nearest.values(), k, settings)


def _walk(nearest: Iterable[Found], k: int, settings: SearchSettings) -> list[Found]:
    """The first k, from the best down, that may stand."""
    floor = settings.min_score - _SLACK
    without, grouped = settings.without, settings.group_tracks
    chosen: list[Found] = []
    seen: set[int] = set()
    for item in nearest:
        score, patch, thing = item
        if patch < 0 or score < floor:
            break
        if patch in without or (grouped and thing in seen):
            continue
        seen.add(thing)
        chosen.append(item)
        if len(chosen) == k:
            break
    return chosen
