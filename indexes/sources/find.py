"""Which files are meant by "the pictures and videos in this folder"."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from indexes.sources.own import is_mined, is_own
from indexes.sources.reading import Reading
from indexes.sources.records import Source, SourceKind, printable
from indexes.sources.table_names import beside
from toolkit.errors import InputError, UsageError
from toolkit.images import IMAGE_SUFFIXES
from toolkit.patches.shards import find_shards
from toolkit.video.find import VIDEO_SUFFIXES, is_special

OnUnreadable = Callable[[Path, OSError], None]

SHARD_SUFFIX = ".tar"
TABLE_SUFFIXES = frozenset({".npy", ".parquet"})


def find_sources(
    paths: Sequence[Path],
    reading: Reading | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> list[Source]:
    """The files that `paths` mean, each path once, in a fixed order.

    A file is a shard (.tar), a table of vectors (.npy, .parquet) or an image by its suffix,
    or else taken for a video. A folder that `vr mine` wrote stands for its shards. Any other
    is walked, sorted, for images and videos, after the shards directly in it; hidden files
    and folders are passed over, and so are linked folders and those that vr wrote below it.
    What may not be read is told to `on_unreadable`, and the rest goes on.

    Raises InputError for a path that is not there or is no plain file, and without
    `on_unreadable` for what may not be read; UsageError where the reading does not fit.
    """
    reading = reading or Reading()
    found: dict[Path, Source] = {}
    for path in paths:
        for file, kind in _files(path, on_unreadable or _refuse):
            found.setdefault(file, _source(file, kind, reading))
    sources = list(found.values())
    _check(sources, reading)
    return sources


def _source(path: Path, kind: SourceKind, reading: Reading) -> Source:
    try:
        size_bytes = path.stat().st_size
    except OSError:  # a broken link: whoever reads it says so
        size_bytes = 0
    files = beside(path) if kind == "table" else ()
    return Source(path, kind, reading.of(kind), size_bytes, files)


def _check(sources: Sequence[Source], reading: Reading) -> None:
    sampled = reading.every_s is not None
    for source in sources:
        if source.kind == "video" or (source.kind == "image" and reading.names_cameras):
            reading.cameras.camera_of(source.path)
    kinds = {source.kind for source in sources}
    if reading.cuts and not reading.dense and kinds == {"video"} and not sampled:
        raise UsageError(
            "Of these videos only the moving regions are read, which are not cut into windows.",
            mend="Give --every SECONDS to cut sampled frames, or leave --grid and --windows out.",
        )


def _refuse(path: Path, error: OSError) -> NoReturn:
    raise InputError(
        f"Cannot read {printable(path)}: {error.strerror}.",
        mend="Make it readable, or move it elsewhere.",
    ) from error


def _files(path: Path, unreadable: OnUnreadable) -> Iterator[tuple[Path, SourceKind]]:
    try:
        is_folder = _exists(path) and path.is_dir()
    except OSError as error:
        _refuse(path, error)
    if not is_folder:
        yield path, _kind(path) or "video"
        return
    yield from _walk(path, unreadable, given=True)


def _exists(path: Path) -> bool:
    if not path.exists():
        raise InputError(
            f"There is no file or folder {printable(path)}.",
            mend="Give images, videos, pair shards, tables of vectors, or folders of them.",
        )
    if is_special(path):
        raise InputError(f"{printable(path)} is no plain file.", mend="Give files or folders.")
    return True


def _walk(
    folder: Path, unreadable: OnUnreadable, *, given: bool = False
) -> Iterator[tuple[Path, SourceKind]]:
    try:
        paths = sorted(folder.iterdir())
        names = {path.name for path in paths}
        if not given and is_own(folder, names):
            return
        shards = [path for path in find_shards(folder) if not is_special(path)] if given else []
        alone = given and is_mined(folder, names)
    except OSError as error:
        unreadable(folder, error)
        return
    yield from ((shard, "shard") for shard in shards)
    for path in () if alone else paths:
        if path.name.startswith("."):
            continue
        try:
            kind, is_folder = _footage(path), path.is_dir()
        except OSError as error:
            unreadable(path, error)
            continue
        if is_folder and not path.is_symlink():  # a link could lead back up, and round for ever
            yield from _walk(path, unreadable)
        elif kind is not None and not is_folder:
            yield path, kind


def _footage(path: Path) -> SourceKind | None:
    kind = _kind(path)
    return kind if kind in ("image", "video") and not is_special(path) else None


def _kind(path: Path) -> SourceKind | None:
    suffix = path.suffix.lower()
    if suffix == SHARD_SUFFIX:
        return "shard"
    if suffix in TABLE_SUFFIXES:
        return "table"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None
