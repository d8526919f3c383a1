"""The catalog's tables, how its file is opened, and what SQLite's complaints mean.

    meta        key, value: fingerprint, dim and card of the one model of this index
    inputs      what was read, by content, so that nothing is read twice
    sources     what a hit names: an image or a video (a shard is an input, its videos are
                the sources)
    segments    FAISS files; `file` is a name in segments/, `sha256` that of its bytes
    patches     row of a segment -> source, PTS seconds, box, track, label
    thumbnails  a small JPEG of each patch, apart, so that patches stay quick to scan

The journal is SQLite's write-ahead log: an uncommitted change never touches the catalog,
however large it grows and whenever it is killed, and readers keep their own snapshot.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import InputError, MismatchError, StorageError

FILE_NAME = "catalog.sqlite"
SEGMENTS = "segments"
VERSION = 1
_BUSY_S = 30.0

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inputs (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'video', 'shard')),
    UNIQUE (sha256, kind)
);
CREATE TABLE sources (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'video')),
    camera TEXT,
    UNIQUE (sha256, kind)
);
CREATE TABLE segments (
    id INTEGER PRIMARY KEY,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    vectors INTEGER NOT NULL,
    kind TEXT NOT NULL
);
CREATE TABLE patches (
    id INTEGER PRIMARY KEY,
    input INTEGER NOT NULL REFERENCES inputs ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    segment INTEGER NOT NULL REFERENCES segments DEFERRABLE INITIALLY DEFERRED,
    row INTEGER NOT NULL,
    time_s REAL,
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL,
    track TEXT,
    label TEXT,
    UNIQUE (segment, row)
);
CREATE INDEX patches_of_input ON patches (input);
CREATE INDEX patches_of_track ON patches (source, track, time_s);
CREATE TABLE thumbnails (
    patch INTEGER PRIMARY KEY REFERENCES patches ON DELETE CASCADE,
    jpeg BLOB NOT NULL
);
PRAGMA user_version = {VERSION};
"""


@contextmanager
def catalog_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's complaints about the file into errors with a remedy.

    Mistakes of this program (constraints, wrong SQL) pass through as they are.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        raise _translated(path, error, code & 0xFF if code is not None else None) from error


def _translated(path: Path, error: sqlite3.DatabaseError, code: int | None) -> Exception:
    space = "Free some space, or choose another target."
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StorageError(
                f"Another vr is writing {path}.", mend="Wait until it is done and try again."
            )
        case sqlite3.SQLITE_FULL:
            return StorageError(f"Cannot write {path}: the disk is full.", mend=space)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StorageError(
                f"Cannot open {path}: {error}.", mend="Choose a folder that you may write to."
            )
        case sqlite3.SQLITE_IOERR:
            return StorageError(f"Cannot read or write {path}: {error}.", mend="Check the disk.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, str(error))
        case sqlite3.SQLITE_ERROR if "no such" in str(error):
            return damaged(path, str(error))
    return error


def damaged(path: Path, reason: str) -> MismatchError:
    """The error for a file of an index that does not hold what it should."""
    return MismatchError(
        f"{path} is damaged: {reason}.",
        mend="Restore the index from a copy, or delete its folder and build it again.",
    )


def no_index(index: Path) -> InputError:
    """The error for a folder that holds no index."""
    return InputError(f"There is no index in {index}.", mend="Make one: vr index build.")


def connect_to_read(index: Path) -> sqlite3.Connection:
    """Open the catalog for reading only. Raises InputError, MismatchError, StorageError."""
    path = index / FILE_NAME
    if not path.is_file():
        raise no_index(index)
    with catalog_errors(path):
        connection = _connect(path, _reading_mode(path))
        try:
            connection.execute("PRAGMA query_only = ON")
            if version_of(connection, path) == 0:
                raise no_index(index)
        except BaseException:
            connection.close()
            raise
    return connection


def connect_to_write(index: Path) -> sqlite3.Connection:
    """Open or make the catalog file, perhaps still without tables, for one writer."""
    path = index / FILE_NAME
    with catalog_errors(path):
        connection = _connect(path, "mode=rwc")
        try:
            version_of(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)


def _reading_mode(path: Path) -> str:
    # A reader normally shares the log's index, a file beside the catalog. Where it may not
    # make one (read-only media), nobody writes either, unless a log was left there.
    if os.access(path.parent, os.W_OK):
        return "mode=rw"
    log = path.with_name(path.name + "-wal")
    return "mode=ro" if log.exists() else "mode=ro&immutable=1"


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The catalog's schema version, 0 before its first commit. Raises MismatchError."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise MismatchError(
            f"{path} has version {version}; this vr reads version {VERSION}.",
            mend="Use a newer vr, or build an index in another folder.",
        )
    return version
