"""What the rows of a table say of themselves: whose picture, when, where in it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexes.records import PixelBox
from indexes.sources.records import UNKNOWN_BOX, printable
from toolkit.errors import InputError

CHUNK_ROWS = 4096

# What a row may say of itself; only its source has to be there.
TEXTS = ("source", "track", "label", "camera", "sha256")
NUMBERS = ("time_s", "x0", "y0", "x1", "y1")
COLUMNS = frozenset({*TEXTS, *NUMBERS})

_BOX = NUMBERS[1:]
_SHA256 = re.compile("[0-9a-f]{64}")
_VR_TRACK = re.compile(r"[0-9a-f]{12}-\d{4,}-\d{4,}(r\d+)?")  # no other video has it already

Told = tuple[str, str | None, Literal["image", "video"], str | None]  # an Origin's fields
Placed = tuple[Told, float | None, PixelBox, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table, from row `first` on.

    vectors: (N, D) of any float type; texts: by name of TEXTS, N values, None or "" where a
    row does not say; numbers: by name of NUMBERS, float64 (N,), NaN where it does not say.
    """

    first: int
    vectors: NDArray[Any]
    texts: Mapping[str, Sequence[str | None]]
    numbers: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Table:
    """An open table. vectors: how many in all, 1 at least; dim: numbers in each.

    fingerprint: of the model they are from, None where nobody says; unused: columns that
    mean nothing here.
    """

    vectors: int
    dim: int
    fingerprint: str | None
    unused: tuple[str, ...]
    rows: Iterator[Rows]


def places(rows: Rows, path: Path) -> Iterator[Placed]:
    """What `Origin` and `IndexPatch` need of each row. Raises InputError naming the row."""
    count = len(rows.vectors)
    sources, tracks, labels, cameras, digests = (
        rows.texts.get(name) or repeat(None, count) for name in TEXTS
    )
    columns = zip(
        sources, digests, cameras, _times(rows, path), _boxes(rows, path), tracks, labels,
        strict=False,  # some are endless
    )  # fmt: skip
    known: str | None = None
    for row, (source, sha256, camera, time_s, box, track, label) in enumerate(columns):
        if not source:
            raise bad_row(path, rows.first + row, "it does not say what its source is")
        if sha256 and sha256 != known:
            if not _SHA256.fullmatch(sha256):
                raise bad_row(path, rows.first + row, f"{sha256[:80]!r} is no SHA-256")
            known = sha256
        kind: Literal["image", "video"] = "image" if time_s is None else "video"
        told = (source, sha256 or None, kind, camera or None)
        yield told, time_s, box, _unique(track, sha256 or source), label or None


def _unique(track: str | None, source: str) -> str | None:
    """A track's name that no other video has: most trackers begin each video at 1."""
    if not track:
        return None
    is_ours = track[12:13] == "-" and _VR_TRACK.fullmatch(track)
    return track if is_ours else f"{source}:{track}"


def _times(rows: Rows, path: Path) -> Iterable[float | None]:
    times_s = rows.numbers.get("time_s")
    if times_s is None:
        return repeat(None, len(rows.vectors))
    endless = np.flatnonzero(np.isinf(times_s))
    if endless.size:
        raise bad_row(path, rows.first + int(endless[0]), "its time is infinite")
    return [None if missing else time_s for missing, time_s in zip(
        np.isnan(times_s).tolist(), times_s.tolist(), strict=True
    )]  # fmt: skip


def _boxes(rows: Rows, path: Path) -> Iterable[PixelBox]:
    count = len(rows.vectors)
    if not any(name in rows.numbers for name in _BOX):
        return repeat(UNKNOWN_BOX, count)
    missing = np.full(count, np.nan)
    corners = np.stack([rows.numbers.get(name, missing) for name in _BOX], axis=1).round(1)
    x0, y0, x1, y1 = corners.T
    unknown = np.isnan(corners).all(axis=1)
    good = unknown | (np.isfinite(corners).all(axis=1) & (x0 < x1) & (y0 < y1))
    wrong = np.flatnonzero(~good)
    if wrong.size:
        row = int(wrong[0])
        box = ", ".join(f"{value:g}" for value in corners[row])
        raise bad_row(path, rows.first + row, f"({box}) is no box x0, y0, x1, y1")
    corners[unknown] = UNKNOWN_BOX
    return map(tuple, corners.tolist())


def bad_row(path: Path, row: int, fault: str) -> InputError:
    """The error for a row, counted from 0, that cannot be indexed."""
    return InputError(
        f"Row {row} of {printable(path)} cannot be indexed: {fault}.",
        mend="Leave that row out, or put it right. Rows are counted from 0.",
    )


def no_table(path: Path, why: str) -> InputError:
    """The error for a file that is no table of vectors."""
    return InputError(
        f"{printable(path)} is no table of vectors that can be read: {why}.",
        mend="Give a .npy of (rows, numbers) with its names beside it, or a .parquet with the "
        "columns `vector` and `source`.",
    )


def unused(names: Iterable[str]) -> tuple[str, ...]:
    """The columns of a table that mean nothing here."""
    return tuple(name for name in names if name not in COLUMNS)
