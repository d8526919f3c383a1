"""Which patch of the old index is which of the new one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.schema import FILE_NAME, catalog_errors

_SAME_PLACE = """
SELECT old.id, min(fresh_patches.id) FROM main.patches AS old
JOIN main.sources AS old_sources ON old_sources.id = old.source
LEFT JOIN main.tracks AS old_tracks ON old_tracks.id = old.track
JOIN fresh.sources AS fresh_sources
  ON fresh_sources.identity = old_sources.identity AND fresh_sources.kind = old_sources.kind
JOIN fresh.patches AS fresh_patches
  ON fresh_patches.source = fresh_sources.id AND fresh_patches.time_s IS old.time_s
  AND fresh_patches.x0 = old.x0 AND fresh_patches.y0 = old.y0
  AND fresh_patches.x1 = old.x1 AND fresh_patches.y1 = old.y1
LEFT JOIN fresh.tracks AS fresh_tracks ON fresh_tracks.id = fresh_patches.track
WHERE fresh_tracks.name IS old_tracks.name
GROUP BY old.id ORDER BY old.id
"""


def same_patches(index: Path, shadow: Path) -> NDArray[np.int64]:
    """int64 (N, 2), ids of the old index and of the shadow, by rising id of the old one.

    Two patches are the same where content, moment, box and track are. Old patches that the
    shadow does not have are not among them. Raises MismatchError, StorageError.
    """
    path = shadow / FILE_NAME
    with catalog_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # One picture may have thousands of windows, and one frame of a video too.
        connection.execute(
            "CREATE INDEX IF NOT EXISTS patches_of_place ON patches (source, time_s, x0, y0)"
        )
    old = index / FILE_NAME
    with catalog_errors(old), closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("ATTACH ? AS fresh", (str(path),))
        found = connection.execute(_SAME_PLACE).fetchall()
    return np.asarray(found, np.int64).reshape(-1, 2)
