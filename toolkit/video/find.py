"""Which files are meant by "the videos in this folder"."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NoReturn

from toolkit import workspace
from toolkit.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"}
    | {".wmv", ".flv", ".3gp", ".ogv", ".asf", ".dav", ".h264", ".h265", ".hevc", ".mxf", ".y4m"}
)

OnUnreadable = Callable[[Path, OSError], None]

# What vr itself writes at the top of the folder that it works in. Deeper down these are
# somebody's own names, with footage in them.
OWN_FOLDERS = frozenset(
    {
        *(
            folder.name
            for folder in (
                workspace.PATCHES,
                workspace.RUNS,
                workspace.EXPORTED,
                workspace.INDEX,
            )
        ),
        "demo",
    }
)


def find_videos(sources: Sequence[Path], on_unreadable: OnUnreadable | None = None) -> list[Path]:
    """The videos that `sources` mean, each path once, in a fixed order.

    A file is taken as it is, whatever its name. A folder is walked, sorted, for the
    suffixes of VIDEO_SUFFIXES; hidden files and folders are passed over, and so are the
    folders that vr writes, directly in it. What may not be read is told to `on_unreadable`,
    and the rest goes on. Raises InputError for a source that does not exist, or is no plain
    file, and without `on_unreadable` for what may not be read.
    """
    found: dict[Path, None] = {}
    for source in sources:
        try:
            is_folder = _check(source)
        except OSError as error:
            _refuse(source, error)
        videos = _walk(source, on_unreadable or _refuse, OWN_FOLDERS) if is_folder else [source]
        found.update(dict.fromkeys(videos))
    return list(found)


def _check(source: Path) -> bool:
    """Whether a source is a folder. Raises InputError, and OSError where none may look."""
    if not source.exists():
        raise InputError(
            f"There is no file or folder {source}.", mend="Give videos, or folders of videos."
        )
    if is_special(source):
        raise InputError(f"{source} is no plain file.", mend="Give files: no pipe, no device.")
    return source.is_dir()


def _refuse(path: Path, error: OSError) -> NoReturn:
    raise InputError(
        f"Cannot read {path}: {error.strerror}.", mend="Make it readable, or move it elsewhere."
    ) from error


def _walk(folder: Path, on_unreadable: OnUnreadable, skip: AbstractSet[str]) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        on_unreadable(folder, error)
        return
    for path in paths:
        if path.name.startswith("."):
            continue
        try:
            is_folder = path.is_dir()
            is_video = path.suffix.lower() in VIDEO_SUFFIXES and not is_special(path)
        except OSError as error:
            on_unreadable(path, error)
            continue
        if is_folder:
            # A linked folder could lead back up and be walked for ever.
            if path.name not in skip and not path.is_symlink():
                yield from _walk(path, on_unreadable, frozenset())
        elif is_video:
            yield path


def is_special(path: Path) -> bool:
    """A pipe, socket or device, which could be read for ever; a broken link is none."""
    return path.exists() and not path.is_file() and not path.is_dir()
