"""What the readers of sources hand on: a file to read, and the patches in it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexes.records import PixelBox
from toolkit.errors import InputError
from toolkit.images import RgbImage
from toolkit.workspace import sha256_file

SourceKind = Literal["image", "video", "shard", "table"]

# Of a patch whose source does not say where it lies: the whole picture, of unknown size.
UNKNOWN_BOX: PixelBox = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Source:
    """One file to index, and how it is read.

    reading: what was asked for, with every setting that changes the patches (`Reading.of`):
    the same bytes and reading give the same patches. size_bytes: for progress, 0 where it
    is not known; beside: files that belong to it (the names of a table's rows).
    """

    path: Path
    kind: SourceKind
    reading: str = "whole"
    size_bytes: int = field(default=0, compare=False)
    beside: tuple[Path, ...] = ()

    def sha256(self) -> str:
        """The identity of its content, and of what lies beside it.

        Raises InputError where it cannot be read.
        """
        own = _digest(self.path)
        if not self.beside:
            return own
        import hashlib

        all_of_it = " ".join([own, *map(_digest, self.beside)])
        return hashlib.sha256(all_of_it.encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise InputError(f"Cannot read {printable(path)}: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class Origin:
    """The image or the video that a patch comes from, as a hit names it.

    sha256: of that file's bytes, None where only its name is known; camera: what films,
    None where nobody said so.
    """

    path: str
    sha256: str | None
    kind: Literal["image", "video"]
    camera: str | None


@dataclass(frozen=True, slots=True)
class IndexPatch:
    """One patch to index: a picture to embed, or a vector that is there already, or both.

    time_s: PTS seconds, None in an image; box: xyxy pixels of the upright original, to a
    tenth (`UNKNOWN_BOX` where nobody said); track: a name that no other video has; image:
    uint8 RGB, perhaps a view of the whole picture; vector: float32 (D,) of length 1.
    """

    origin: Origin
    time_s: float | None
    box: PixelBox
    track: str | None
    image: RgbImage | None
    vector: NDArray[np.float32] | None = None
    label: str | None = None


def printable(path: Path | str) -> str:
    """The path as text that any database and terminal takes; odd bytes become \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
