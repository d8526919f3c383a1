"""Which files are meant by "the videos in this folder"."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit import workspace
from toolkit.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"}
    | {".wmv", ".flv", ".3gp", ".ogv", ".asf", ".dav", ".h264", ".h265", ".hevc", ".mxf", ".y4m"}
)

# What vr itself writes beside the footage; a report or an index holds no footage.
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


def find_videos(sources: Sequence[Path]) -> list[Path]:
    """The videos that `sources` mean, each path once, in a fixed order.

    A file is taken as it is, whatever its name. A folder is walked, sorted, for the
    suffixes of VIDEO_SUFFIXES; hidden folders and those that vr writes are passed over.
    Raises InputError for a source that does not exist.
    """
    found: dict[Path, None] = {}
    for source in sources:
        if not source.exists():
            raise InputError(
                f"There is no file or folder {source}.", mend="Give videos, or folders of videos."
            )
        found.update(dict.fromkeys(_walk(source) if source.is_dir() else [source]))
    return list(found)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            # A linked folder could lead back up and be walked for ever.
            if path.name not in OWN_FOLDERS and not path.is_symlink():
                yield from _walk(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path
