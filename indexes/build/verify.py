"""Whether an index is whole: every byte of its segments, and that both halves tell the same."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.build.merge import OnStep, silent
from indexes.build.verify_catalog import catalog_problems
from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import SEGMENTS
from indexes.folder.files import leftovers
from indexes.records import Segment
from indexes.vectors.segment import open_segment
from indexes.vectors.verify import verify_segment
from toolkit.errors import MismatchError

_TRIES = 5  # a writer may put other segments in the place of those that are being looked at

_ANEW = "Restore the index from a copy, or build it anew: vr index build --overwrite."
_SEGMENT = "Restore the file from a copy; --allow-partial searches the rest; or build anew."


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what helps."""

    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at and what was found.

    problems: damage; leftovers: files that a kill left, which the next writer deletes;
    foreign: files in the folder of segments that are nothing of ours.
    """

    index: str
    vectors: int
    segments: int
    bytes: int
    problems: tuple[Problem, ...]
    leftovers: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The contract of `vr index verify`."""
        return {
            "index": self.index,
            "sound": not self.problems,
            "vectors": self.vectors,
            "segments": self.segments,
            "bytes": self.bytes,
            "problems": [{"what": one.what, "mend": one.mend} for one in self.problems],
            "leftovers": list(self.leftovers),
            "foreign": list(self.foreign),
        }


def verify(index: Path, on_step: OnStep | None = None) -> Verification:
    """Read and check everything; nothing is changed, and a writer may go on meanwhile.

    on_step: told what is read ("catalog", "segments"), how much of it, of how much.
    Raises InputError where there is no index, MissingError where FAISS is not installed.
    """
    for _ in range(_TRIES):
        try:
            found, stems = _verify(index, on_step or silent)
        except MismatchError as error:  # the catalog itself
            return Verification(str(index), 0, 0, 0, (Problem(error.problem, error.mend),))
        if not found.problems or stems == _stems(index):
            break
    return found


def _stems(index: Path) -> list[str] | None:
    try:
        with closing(CatalogReader(index)) as catalog:
            return [segment.stem for segment in catalog.segments]
    except MismatchError:
        return None


def _verify(index: Path, tell: OnStep) -> tuple[Verification, list[str]]:
    with closing(CatalogReader(index)) as catalog:
        size = sum(segment.size_bytes for segment in catalog.segments)
        patches = catalog.count()
        found = catalog_problems(catalog, lambda done: tell("catalog", done, patches))
        problems = [Problem(what, _ANEW) for what in found]
        rows: list[NDArray[np.int64]] = []
        read = 0
        for segment in catalog.segments:
            tell("segments", read, size)
            read += segment.size_bytes
            wrong = verify_segment(index / SEGMENTS, segment, catalog.card.dim)
            problems += [Problem(what, _SEGMENT) for what in wrong]
            if not wrong:
                rows.append(_rows(index, segment, catalog.card.dim))
        problems += _row_problems(catalog, rows, whole=len(rows) == len(catalog.segments))
        left, foreign = leftovers(index, catalog.segments)
        return Verification(
            index=str(index),
            vectors=patches,
            segments=len(catalog.segments),
            bytes=size + catalog.size_bytes(),
            problems=tuple(problems),
            leftovers=tuple(str(path) for path in left),
            foreign=tuple(str(path) for path in foreign),
        ), [segment.stem for segment in catalog.segments]


def _rows(index: Path, segment: Segment, dim: int) -> NDArray[np.int64]:
    with closing(open_segment(index / SEGMENTS, segment, dim)) as opened:
        return np.array(opened.rows)


def _row_problems(
    catalog: CatalogReader, rows: list[NDArray[np.int64]], *, whole: bool
) -> Iterator[Problem]:
    """Where rows of segments and patches of the catalog do not stand for each other.

    whole: whether these are the rows of all segments.
    """
    known = np.concatenate([np.empty((0, 2), np.int64), *rows])
    known = known[np.argsort(known[:, 0], kind="stable")]
    ids = known[:, 0]
    twice = ids[1:][ids[1:] == ids[:-1]]
    yield from _said(catalog, twice, "are in segments more than once")
    patches: NDArray[Any] = np.fromiter(
        catalog.rows("SELECT id, coalesce(track, -id) FROM patches ORDER BY id"),
        np.dtype((np.int64, 2)),
    )
    removed = catalog.tombstones()
    lost = _without(ids, np.concatenate([patches[:, 0], removed]))
    yield from _said(catalog, lost, "have a vector, and the catalog does not know them")
    buried = patches[np.isin(patches[:, 0], removed), 0]
    yield from _said(catalog, buried, "are there and are noted as removed")
    if whole:
        yield from _said(catalog, _without(patches[:, 0], ids), "have no vector")
        gone = _without(removed, ids)
        yield from _said(catalog, gone, "are noted as removed and are in no segment")
    at = np.searchsorted(patches[:, 0], ids)
    at[at == len(patches)] = 0
    if len(patches):
        other = (patches[at, 0] == ids) & (patches[at, 1] != known[:, 1])
        yield from _said(catalog, ids[other], "are of another track in their segment")


def _without(patches: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those that are not among the others; NumPy's own way sorts out doubles first, slowly."""
    return patches[np.isin(patches, others, invert=True)]


def _said(catalog: CatalogReader, patches: NDArray[np.int64], what: str) -> Iterable[Problem]:
    if len(patches):
        some = ", ".join(map(str, patches[:5])) + (" ..." if len(patches) > 5 else "")
        yield Problem(f"{catalog.index}: {len(patches)} patches {what}: {some}.", _ANEW)
