"""The things of an open index: which rows they have, and some patches of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.folder.store import FolderStore
from indexes.labels.likeness import Exemplars, Rows
from toolkit.embedding import Embeddings, chunks

OnProgress = Callable[[int, int], None]  # rows done, of all

PATCHES_OF_A_THING = 16  # of a labelled one, evenly over its rows: more add time, not likeness


@dataclass(frozen=True, slots=True)
class Part:
    """A segment.

    vectors: float32 (N, D), mapped; patches, things: int64 (N,), of each row; alive: bool
    (N,), the rows whose patch was not removed, None for all.
    """

    vectors: Embeddings
    patches: NDArray[np.int64]
    things: NDArray[np.int64]
    alive: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of some things, thing by thing: things, patches int64 (P,); vectors (P, D)."""

    things: NDArray[np.int64]
    patches: NDArray[np.int64]
    vectors: Embeddings


def living(store: FolderStore) -> list[Part]:
    """The segments that could be opened, in their order."""
    removed = store.catalog.tombstones()
    parts: list[Part] = []
    for segment in store.segments:
        patches, things = segment.rows[:, 0], segment.rows[:, 1]
        gone = np.isin(patches, removed) if len(removed) else np.zeros(0, np.bool_)
        parts.append(Part(segment.vectors, patches, things, ~gone if gone.any() else None))
    return parts


def all_things(parts: Sequence[Part]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every thing, ascending, and its number of rows, both int64 (T,)."""
    rows = [part.things if part.alive is None else part.things[part.alive] for part in parts]
    return np.unique(np.concatenate([*rows, np.empty(0, np.int64)]), return_counts=True)


def blocks(
    parts: Sequence[Part], size: int, on_progress: OnProgress | None = None
) -> Iterator[Rows]:
    """The living rows of all segments, at most `size` at a time."""
    total, done = sum(len(part.things) for part in parts), 0
    for part in parts:
        for rows in chunks(len(part.things), size):
            there = slice(None) if part.alive is None else part.alive[rows]
            # A copy: the mapped vectors are not aligned.
            yield Rows(np.array(part.vectors[rows])[there], np.asarray(part.things[rows])[there])
            done += rows.stop - rows.start
            if on_progress is not None:
                on_progress(done, total)


def exemplars(parts: Sequence[Part], labels: Mapping[int, str], dim: int) -> Exemplars:
    """The labelled things that are there, with at most `PATCHES_OF_A_THING` patches each.

    labels: thing to label. Classes are numbered in the order of their names.
    """
    rows = sample(parts, np.array(sorted(labels), np.int64), PATCHES_OF_A_THING, dim)
    things, starts = np.unique(rows.things, return_index=True)
    numbers = {name: number for number, name in enumerate(class_names(labels))}
    classes = np.array([numbers[labels[int(thing)]] for thing in things], np.int32)
    return Exemplars(things, classes, rows.vectors, starts.astype(np.int64))


def class_names(labels: Mapping[int, str]) -> list[str]:
    """The labels, each once, sorted."""
    return sorted(set(labels.values()))


def sample(parts: Sequence[Part], wanted: NDArray[np.int64], most: int, dim: int) -> Sample:
    """At most `most` rows of each of the wanted things, evenly over the rows that it has."""
    owners: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    where: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    for number, part in enumerate(parts):
        inside = np.isin(part.things, wanted)
        if part.alive is not None:
            inside &= part.alive
        rows = np.flatnonzero(inside)
        owners.append(np.asarray(part.things[rows]))
        where.append(np.column_stack([np.full(len(rows), number), rows]).astype(np.int64))
    all_owners, all_places = np.concatenate(owners), np.concatenate(where)
    order = np.argsort(all_owners, kind="stable")
    order = order[_evenly(all_owners[order], most)]
    places = all_places[order]
    vectors = np.empty((len(order), dim), np.float32)
    patches = np.empty(len(order), np.int64)
    for number, part in enumerate(parts):
        here = places[:, 0] == number
        vectors[here] = part.vectors[places[here, 1]]
        patches[here] = part.patches[places[here, 1]]
    return Sample(all_owners[order], patches, vectors)


def _evenly(owners: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The places of the middles of at most `most` equal parts of each of the sorted owners."""
    _, first, counts = np.unique(owners, return_index=True, return_counts=True)
    taken = np.minimum(counts, most)
    part = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    middles = (2 * part + 1) * np.repeat(counts, taken) // (2 * np.repeat(taken, taken))
    return np.asarray(np.repeat(first, taken) + middles, np.int64)
