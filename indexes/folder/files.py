"""The folder of an index: what belongs in it, what a kill left there, what is in the way."""

import re
from collections.abc import Iterable
from pathlib import Path

from indexes.catalog.schema import FILE_NAME, SEGMENTS
from indexes.catalog.writer import Catalog
from indexes.records import Segment
from indexes.sources import printable
from toolkit.errors import StorageError
from toolkit.lock import FILE_NAME as LOCK
from toolkit.workspace import storage_errors

_OWN = frozenset({FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", SEGMENTS, LOCK})
SHADOW = "upgrade-"  # what their names begin with
# A file of a segment, or hidden, while it comes to be.
_SEGMENT_FILE = re.compile(r"[0-9a-f]{16}(\.[0-9a-z]+)+|\..+")


def shadow_folders(index: Path) -> list[Path]:
    """The indexes of other models that upgrades have begun inside this one."""
    return sorted(path for path in index.glob(f"{SHADOW}*") if path.is_dir())


def leftovers(index: Path, segments: Iterable[Segment]) -> tuple[list[Path], list[Path]]:
    """What lies in the folder of segments and is of none: files a kill left, and foreign ones."""
    belonging = {name for segment in segments for name in segment.names}
    folder = index / SEGMENTS
    left: list[Path] = []
    foreign: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in belonging:
            ours = _SEGMENT_FILE.fullmatch(path.name) and not path.is_dir()
            (left if ours else foreign).append(path)
    return left, foreign


def sweep(index: Path, catalog: Catalog) -> None:
    """Delete the files, whole and half, of segments that do not belong to the index.

    Only for the one writer: another one's draft looks like what a kill left. Raises
    StorageError.
    """
    with storage_errors(index / SEGMENTS):
        for path in leftovers(index, catalog.segments())[0]:
            path.unlink(missing_ok=True)


def check_target(index: Path) -> None:
    """Raises StorageError where the folder holds something else than an index."""
    with storage_errors(index):
        if not index.is_dir() or (index / FILE_NAME).exists():
            return
        foreign = [path for path in sorted(index.iterdir()) if path.name not in _OWN]
    visible = [path for path in foreign if not path.name.startswith(".")]
    if visible:
        raise StorageError(
            f"{printable(index)} is no index, and it is not empty: it holds "
            f"{printable(visible[0].name)}.",
            mend="Choose an empty folder, or a new one.",
        )
