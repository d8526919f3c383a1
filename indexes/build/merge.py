"""Segments made into one: what was removed is left behind, and search stays fast.

One transaction puts the new segment in the place of the old ones. Memory holds pieces of
the vectors and two numbers a row.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.build.uninterrupted import uninterrupted
from indexes.catalog.schema import SEGMENTS, damaged
from indexes.catalog.writer import Catalog
from indexes.folder.files import sweep
from indexes.plan.choose import IndexPlan
from indexes.plan.grow import needs_merge, needs_pruning
from indexes.records import FileMark, Segment
from indexes.vectors.approximate import ENOUGH, BuildOptions, index_segment
from indexes.vectors.files import FLAT as EXACT
from indexes.vectors.files import ROWS, mark_of
from indexes.vectors.flat import KEY, FlatWriter
from indexes.vectors.flat import KIND as FLAT
from indexes.vectors.segment import OpenSegment, open_segment
from toolkit.embedding import chunks

OnStep = Callable[[str, int, int], None]  # what is done, done, of how many

MOST_FLAT = 8  # segments beside each other; each is a search of its own
_COPIED = 65_536


@dataclass(frozen=True, slots=True)
class Merging:
    """Segments that are to become one of a kind; plan: None for flat."""

    segments: tuple[Segment, ...]
    plan: IndexPlan | None


def what_to_merge(
    segments: Sequence[Segment], removed: NDArray[np.int64], plan: IndexPlan
) -> Merging | None:
    """What is worth merging after a change, if anything; the plan is for all vectors.

    All of it, where another kind suits so many vectors better or the flat segments beside a
    large one have outgrown their share; else the flat ones, where they have become many. Much
    that was removed is a reason in any case.
    """
    flat = tuple(segment for segment in segments if segment.kind == FLAT)
    indexed = _vectors(segments) - _vectors(flat)
    if (indexed or plan.kind != FLAT) and needs_merge(indexed, _vectors(flat), len(removed)):
        return Merging(tuple(segments), plan)
    if len(flat) > MOST_FLAT or (not indexed and needs_pruning(_vectors(flat), len(removed))):
        return Merging(flat, None)
    return None


def unlike(segments: Sequence[Segment], plan: IndexPlan, *, by_key: bool) -> Merging | None:
    """Everything, where its largest segment is not as planned: the budget has changed.

    by_key: the plan's key was asked for, and no other will do.
    """
    if not segments or _suits(max(segments, key=_size), plan, by_key=by_key):
        return None
    return Merging(tuple(segments), plan)


def whole(
    segments: Sequence[Segment], removed: NDArray[np.int64], plan: IndexPlan, *, by_key: bool
) -> Merging | None:
    """Everything as one segment as planned, without what was removed; None where it is so."""
    if len(segments) > 1 or len(removed):
        return Merging(tuple(segments), plan)
    return unlike(segments, plan, by_key=by_key)


def _size(segment: Segment) -> int:
    return segment.vectors


def _vectors(segments: Sequence[Segment]) -> int:
    return sum(map(_size, segments))


def _suits(segment: Segment, plan: IndexPlan, *, by_key: bool) -> bool:
    if segment.kind != plan.kind or segment.kind == FLAT:
        return segment.kind == plan.kind
    # The number of cells follows the number of vectors; that alone is no reason.
    if by_key:
        return segment.key == plan.key
    if segment.settings.get("recall") != plan.recall:
        return False
    enough_ms = segment.settings.get(ENOUGH)  # for the recall that its latency did not allow
    return not isinstance(enough_ms, int | float) or plan.latency_ms < enough_ms


def merge(
    catalog: Catalog, merging: Merging, device: str = "cpu", on_step: OnStep | None = None
) -> Segment | None:
    """Write the one segment and commit it; the transaction after it is open again.

    None where nothing living is left. Raises MismatchError where a segment is damaged,
    StorageError, MissingError.
    """
    tell = on_step or silent
    folder, dim = catalog.index / SEGMENTS, catalog.card().dim
    removed = catalog.tombstones()
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(open_segment(folder, segment, dim)))
            for segment in merging.segments
        ]
        dead = np.concatenate(
            [np.intersect1d(one.rows[:, 0], removed) for one in opened] or [np.empty(0, np.int64)]
        )
        new = _flat(catalog, opened, dead, tell)
        if new is not None and merging.plan is not None:
            largest = max(opened, key=len)
            options = BuildOptions(device, largest, tell)
            new = index_segment(folder, new, dim, merging.plan, options)
    with uninterrupted():
        catalog.replace_segments(merging.segments, new)
        catalog.forget_tombstones(dead)
        catalog.commit()
        catalog.begin()
    sweep(catalog.index, catalog)
    return new


def _flat(
    catalog: Catalog, opened: Sequence[OpenSegment], dead: NDArray[np.int64], tell: OnStep
) -> Segment | None:
    """The exact vectors of what lives, as one segment; the old one where it is just that."""
    if len(opened) == 1 and not len(dead):
        old = opened[0].segment
        return Segment(old.stem, old.vectors, FLAT, KEY, {}, _exact_files(old))
    total = sum(map(len, opened)) - len(dead)
    if not total:
        return None
    rows = []
    with FlatWriter(catalog.index / SEGMENTS, catalog.card().dim) as writer:
        for segment in opened:
            _check_unchanged(catalog.index / SEGMENTS, segment.segment)
            for part in _living(segment, dead):
                writer.append(segment.vectors[part])
                rows.append(segment.rows[part])
                tell("merging", writer.rows, total)
        return writer.finish(np.concatenate(rows))


def _check_unchanged(folder: Path, segment: Segment) -> None:
    """Damage must be found now: what is written anew gets hashes of its own."""
    for suffix, mark in _exact_files(segment).items():
        path = folder / (segment.stem + suffix)
        if mark_of(path) != mark:
            raise damaged(path, "it does not hold the bytes that were written")


def _exact_files(segment: Segment) -> dict[str, FileMark]:
    return {suffix: segment.files[suffix] for suffix in (EXACT, ROWS)}


def _living(segment: OpenSegment, dead: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """The rows of a segment that stand for living patches, some at a time."""
    for part in chunks(len(segment), _COPIED):
        alive = np.isin(segment.rows[part, 0], dead, invert=True)
        yield np.flatnonzero(alive) + part.start


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
