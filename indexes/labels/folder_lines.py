"""A folder with a folder of pictures for each class, read as a list of labels.

A picture is found in the index by its bytes. One that `vr label suggest --pictures` wrote is
found by its name, and has to be that patch's thumbnail to the byte.
"""

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from indexes.labels.records import Refused, clean_label
from indexes.sources import printable
from toolkit.errors import InputError
from toolkit.picture_files import find_pictures
from toolkit.workspace import sha256_file

_SUGGESTED = re.compile(r"patch-([0-9]{1,18})\.jpg")


@dataclass(frozen=True, slots=True)
class ClassPicture:
    """A picture in the folder of its class."""

    path: Path
    label: str


def suggested_name(patch: int) -> str:
    """The name of the picture of a suggested patch."""
    return f"patch-{patch}.jpg"


def read_folder(folder: Path) -> tuple[list[ClassPicture], list[Refused]]:
    """The pictures of a folder per class, and those whose class can be no label.

    Raises InputError for a folder that has no such folders in it.
    """
    try:
        classes = sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError as error:
        raise InputError(
            f"Cannot read {printable(folder)}: {error.strerror}.",
            mend="Give a folder that you may read.",
        ) from error
    pictures: list[ClassPicture] = []
    refused: list[Refused] = []
    for one in classes:
        paths = find_pictures([one])
        try:
            label = clean_label(printable(one.name))
        except ValueError as error:
            refused += [Refused(None, printable(path), str(error)) for path in paths]
            continue
        pictures += [ClassPicture(path, label) for path in paths]
    if not pictures and not refused:
        raise InputError(
            f"{printable(folder)} has no folder of pictures in it.",
            mend="Give a folder that has a folder for each class, with its pictures.",
        )
    return pictures, refused


def picture_thing(connection: sqlite3.Connection, path: Path) -> int:
    """The thing that a picture shows. Raises ValueError that says why there is none."""
    suggested = _SUGGESTED.fullmatch(path.name)
    if suggested is not None:
        thing = _of_thumbnail(connection, int(suggested[1]), path)
        if thing is not None:
            return thing
    try:
        digest = sha256_file(path)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    query = (
        "SELECT coalesce(track, -patches.id), x1 - x0, y1 - y0 FROM sources "
        "JOIN patches ON patches.source = sources.id "
        "WHERE identity = ? AND kind = 'image'"
    )
    return _whole(list(connection.execute(query, (digest,))))


def _of_thumbnail(connection: sqlite3.Connection, patch: int, path: Path) -> int | None:
    query = (
        "SELECT coalesce(track, -patches.id), jpeg FROM patches "
        "JOIN thumbnails ON thumbnails.patch = patches.id WHERE patches.id = ?"
    )
    row = connection.execute(query, (patch,)).fetchone()
    if row is None or path.stat().st_size != len(row[1]) or path.read_bytes() != row[1]:
        return None
    return int(row[0])


def _whole(found: list[tuple[int, float, float]]) -> int:
    """The patch that is the whole picture: the only one, or wider and higher than the rest."""
    if not found:
        raise ValueError("no image of the index has these bytes")
    width, height = max(row[1] for row in found), max(row[2] for row in found)
    whole = [thing for thing, wide, high in found if (wide, high) == (width, height)]
    if len(whole) > 1:
        raise ValueError(f"the index has {len(found)} patches of it: label them by id")
    if not whole:
        raise ValueError("the index has only parts of it: label them by id")
    return whole[0]
