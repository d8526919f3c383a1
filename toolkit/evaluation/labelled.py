"""Labelled pictures: a folder for each class, or a CSV file of paths and labels."""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding_files import printable
from toolkit.errors import ImageError, InputError
from toolkit.evaluation.alike import THUMBNAIL, group_alike
from toolkit.images import IMAGE_SUFFIXES, RgbImage, decode_image, resize
from toolkit.picture_files import read_batches
from toolkit.preprocess import Preprocessing
from toolkit.video.find import is_special

Reasons = tuple[tuple[str, str], ...]  # path and reason of what was set aside
OnProgress = Callable[[int], None]  # how many pictures are done

MAX_CSV_BYTES = 256 * 1024 * 1024
_BATCH = 64
_NO_CLASS = "it lies in no folder of a class"
_NO_PICTURE = "no picture lies in it"
_SEPARATORS = ",;\t"  # those of `vr label import`


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A picture, its class, and what it must not be parted from ("" where nothing is known)."""

    path: Path
    label: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """What a source holds. root: the folder that the paths lie in."""

    root: Path
    files: tuple[LabelledFile, ...]
    set_aside: Reasons = ()


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """The pictures that could be read, N of them.

    classes: sorted names; labels: int64 (N,), places in them; groups: int64 (N,), the same
    number for pictures that are the same, nearly the same, or of one group; sha256: of each
    file's bytes.
    """

    files: tuple[LabelledFile, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    sha256: tuple[str, ...]
    set_aside: Reasons = ()


def find_labelled(source: Path, group_by: str = "none") -> LabelledFiles:
    """The pictures of a folder of class folders, or of a CSV file, in a fixed order.

    A class is a folder directly in `source`, with all pictures below it; a linked folder is
    followed there and no deeper, and one without a picture is set aside. A CSV file has the
    columns `path` (from its own folder) and `label`, and may have `group`; separators are
    commas, semicolons or tabs. group_by: "folder" keeps the pictures of one folder below
    a class together. Raises InputError, also for fewer than two classes.
    """
    if not source.exists():
        raise InputError(
            f"There is no file or folder {source}.",
            mend="Give a folder with a folder for each class, or a CSV file with path and label.",
        )
    try:
        found = _of_folder(source, group_by) if source.is_dir() else _of_csv(source)
    except OSError as error:
        raise InputError(f"Cannot read {error.filename}: {error.strerror}.") from error
    _check_classes({file.label for file in found.files}, source)
    return found


def read_labelled(
    found: LabelledFiles,
    preprocessing: Preprocessing,
    take: Callable[[NDArray[np.uint8]], None],
    on_progress: OnProgress = lambda _: None,
) -> LabelledPictures:
    """Read all pictures, handing them to `take` in order: uint8 RGB (B, height, width, 3).

    A row of what `take` got is a row of the result. What cannot be read is set aside.
    Raises InputError where fewer than two classes are left.
    """
    by_path = {file.path: file for file in found.files}
    hashes: dict[Path, str] = {}

    def read(path: Path) -> RgbImage:
        content = _content(path)
        hashes[path] = hashlib.sha256(content).hexdigest()
        return decode_image(content, name=str(path))

    files: list[LabelledFile] = []
    thumbnails: list[NDArray[np.uint8]] = []
    set_aside = list(found.set_aside)
    for batch in read_batches(list(by_path), preprocessing, _BATCH, read):
        if len(batch.paths):
            take(batch.images)
        files += [by_path[path] for path in batch.paths]
        thumbnails += [resize(image, THUMBNAIL, THUMBNAIL) for image in batch.images]
        set_aside += [(printable(path), reason) for path, reason in batch.unreadable]
        on_progress(len(files) + len(set_aside) - len(found.set_aside))
    classes = sorted({file.label for file in files})
    _check_classes(set(classes), found.root)
    number = {name: place for place, name in enumerate(classes)}
    shas = tuple(hashes[file.path] for file in files)
    return LabelledPictures(
        tuple(files),
        tuple(classes),
        np.array([number[file.label] for file in files], np.int64),
        group_alike(np.stack(thumbnails), [file.group for file in files]),
        shas,
        tuple(set_aside),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"Cannot read the image {path}: {error.strerror}.") from error


def _check_classes(classes: set[str], source: Path) -> None:
    if len(classes) >= 2:
        return
    there = f"one class, {next(iter(classes))!r}" if classes else "no picture of a class"
    raise InputError(
        f"{source} holds {there}: there is nothing to tell apart.",
        mend="Give a folder with a folder of pictures for each of two classes or more, or a CSV "
        "file with path and label.",
    )


def _of_folder(source: Path, group_by: str) -> LabelledFiles:
    files: list[LabelledFile] = []
    strays: list[tuple[str, str]] = []
    for entry in sorted(source.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            before = len(files)
            for path in _pictures(entry):
                below = path.parent != entry and group_by == "folder"
                group = str(path.parent) if below else ""
                files.append(LabelledFile(path, printable(entry.name), group))
            if len(files) == before:
                strays.append((printable(entry), _NO_PICTURE))
        elif _is_picture(entry):
            strays.append((printable(entry), _NO_CLASS))
    return LabelledFiles(source, tuple(files), tuple(strays))


def _pictures(folder: Path) -> Iterator[Path]:
    """The pictures below a class: names that vr gives to folders of its own are none here."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            # A linked folder could lead back up and be walked for ever.
            if not path.is_symlink():
                yield from _pictures(path)
        elif _is_picture(path):
            yield path


def _is_picture(path: Path) -> bool:
    # A link that leads nowhere is set aside where it is read; a pipe would be waited for.
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_special(path)


def _of_csv(source: Path) -> LabelledFiles:
    if is_special(source):
        raise InputError(f"{source} is no plain file.", mend="Give a folder or a CSV file.")
    if source.stat().st_size > MAX_CSV_BYTES:
        raise InputError(f"{source} has more than {MAX_CSV_BYTES:,} bytes.", mend="Split it.")
    # Names are bytes: what is no UTF-8 stays what it is in the file system.
    text = source.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        return LabelledFiles(source.parent, tuple(_rows(source, rows)))
    except csv.Error as error:
        raise InputError(f"{source}:{rows.line_num} is no line of a CSV file: {error}.") from error


def _rows(source: Path, rows: "csv.DictReader[str]") -> Iterator[LabelledFile]:
    if not {"path", "label"} <= set(rows.fieldnames or ()):
        raise InputError(
            f"{source} has no columns path and label.", mend="Begin it with the line: path,label"
        )
    seen: dict[Path, str] = {}
    for row in rows:
        name, label, group = (row.get(key) or "" for key in ("path", "label", "group"))
        if not name or not label or "\0" in name:
            raise InputError(f"{source}:{rows.line_num} lacks a path or a label.")
        path, label = source.parent / name, printable(label)
        if path not in seen:
            seen[path] = label
            yield LabelledFile(path, label, group)
        elif seen[path] != label:
            raise InputError(
                f"{source}:{rows.line_num} gives {printable(path)} the label {label!r}, and an "
                f"earlier line {seen[path]!r}.",
                mend="Give every picture one label.",
            )
