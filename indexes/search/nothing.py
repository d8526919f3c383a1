"""Why a search found nothing, for people."""

from collections.abc import Iterator
from dataclasses import replace

from indexes.records import Filter
from indexes.search.best import best_of_all
from indexes.search.settings import SearchSettings
from indexes.stores import PatchStore
from toolkit.embedding import Embeddings


def why_nothing(store: PatchStore, queries: Embeddings, settings: SearchSettings) -> str:
    """The first thing that leaves no patch for the queries (Q, D), of unit length."""
    if not len(store):
        return "the index is empty"
    if not _any(store, queries, SearchSettings()):
        return "what was left out is all there is"
    for words, only in _parts(settings.only):
        if not _any(store, queries, SearchSettings(only=only)):
            return f"no patch {words}"
    if not _any(store, queries, SearchSettings(only=settings.only)):
        return "each filter lets some patches through, but none passes all of them"
    best = best_of_all(store, queries, 1, replace(settings, min_score=-1.0))
    if not best:
        return "there is nothing but what the query itself shows"
    return f"the best score is {best[0][0]:.3f}, and {settings.min_score:g} was asked for"


def _any(store: PatchStore, queries: Embeddings, settings: SearchSettings) -> bool:
    return bool(best_of_all(store, queries, 1, settings))


def _parts(only: Filter) -> Iterator[tuple[str, Filter]]:
    """Each condition by itself, with what it says of a patch."""
    if only.sources:
        yield f"is from a source like {' or '.join(only.sources)}", Filter(sources=only.sources)
    if only.cameras:
        yield f"is of the camera {' or '.join(only.cameras)}", Filter(cameras=only.cameras)
    if only.times_s is not None:
        first, last = only.times_s
        begin = 0.0 if first == float("-inf") else first
        until = "" if last == float("inf") else f" to {last:g}"
        yield f"is of the time {begin:g}{until} s", Filter(times_s=only.times_s)
    if only.labels:
        yield f"has the label {' or '.join(only.labels)}", Filter(labels=only.labels)
