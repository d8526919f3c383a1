"""The best hits over any store: looked up by nearness, then chosen by what is wanted.

A store knows no tracks and no exclusions. So more patches are looked up than are wanted, and
what may not stand is passed over; where too few are left, more are looked up.
"""

from collections.abc import Iterable

from indexes.search.settings import SearchSettings
from indexes.stores import PatchStore
from toolkit.embedding import Embeddings

Found = tuple[float, int, int]  # score, patch, thing, as `indexes.records.Nearest` has them

# Of a track about so many patches are near a query at once: looking up more costs nearly
# nothing, looking up again costs a search.
_SIGHTINGS = 4
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
    depth = k * _SIGHTINGS if settings.group_tracks or settings.without else k + _SPARE
    while rows:
        near = store.nearest(queries[rows], depth, settings.only)
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
        depth *= _WIDER
    return found


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
