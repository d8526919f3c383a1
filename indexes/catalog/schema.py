"""The catalog's tables, how its file is opened, and what SQLite's complaints mean.

    meta           key, value: fingerprint, dim and card of the one model of this index
    inputs         what was read, by content and by how it was cut, so that nothing is read
                   twice; not `whole` once a source of it was removed, and then read again
    shared         inputs with sightings that another input had brought in before, by the
                   identity of their source
    sources        what a hit names: an image or a video (a shard is an input, its videos are
                   the sources); `identity` is its SHA-256, or its path where that is unknown
    tracks         things that were followed, by the name that mining gave them
    segments       vectors: `stem` is what the names of its files in segments/ begin with
    patches        input, source, PTS seconds, box, track; a segment's rows name them by id,
                   which is never given twice
    thumbnails     a small JPEG of each patch, apart, so that patches stay quick to scan
    sums           a check sum over each patch and its thumbnail (see `sums`)
    tombstones     patches that were removed and whose rows are still in a segment
    label_batches  one act of labelling each, so that it can be undone
    labels         of a track, or of a patch that has none

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
VERSION = 2
_BUSY_S = 30.0
_CACHE_KIB = 65_536  # of the writer: with SQLite's 2 MB large indexes of tables go to the disk

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inputs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'video', 'shard', 'table')),
    reading TEXT NOT NULL,
    whole INTEGER NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX inputs_once ON inputs (sha256, kind, reading) WHERE whole;
CREATE INDEX inputs_in_part ON inputs (sha256) WHERE NOT whole;
CREATE TABLE shared (
    input INTEGER NOT NULL REFERENCES inputs ON DELETE CASCADE,
    identity TEXT NOT NULL,
    PRIMARY KEY (input, identity)
) WITHOUT ROWID;
CREATE INDEX shared_by_source ON shared (identity);
CREATE TABLE sources (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    sha256 TEXT,
    identity TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'video')),
    camera TEXT,
    UNIQUE (identity, kind)
);
CREATE TABLE tracks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stem TEXT NOT NULL UNIQUE,
    vectors INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    settings TEXT NOT NULL,
    files TEXT NOT NULL
);
CREATE TABLE patches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    input INTEGER NOT NULL REFERENCES inputs ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    track INTEGER REFERENCES tracks ON DELETE CASCADE,
    time_s REAL,
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL
);
CREATE INDEX patches_of_input ON patches (input);
CREATE INDEX patches_of_source ON patches (source, time_s);
CREATE INDEX patches_of_track ON patches (track, time_s) WHERE track IS NOT NULL;
CREATE TABLE thumbnails (
    patch INTEGER PRIMARY KEY REFERENCES patches ON DELETE CASCADE,
    jpeg BLOB NOT NULL
);
CREATE TABLE tombstones (patch INTEGER PRIMARY KEY);
CREATE TABLE label_batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    made_s REAL NOT NULL,
    kind TEXT NOT NULL,
    settings TEXT NOT NULL
);
CREATE TABLE labels (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES label_batches ON DELETE CASCADE,
    track INTEGER REFERENCES tracks ON DELETE CASCADE,
    patch INTEGER REFERENCES patches ON DELETE CASCADE,
    label TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('given', 'spread')),
    confidence REAL NOT NULL,
    CHECK ((track IS NULL) <> (patch IS NULL))
);
CREATE INDEX labels_of_track ON labels (track) WHERE track IS NOT NULL;
CREATE INDEX labels_of_patch ON labels (patch) WHERE patch IS NOT NULL;
CREATE INDEX labels_of_batch ON labels (batch);
PRAGMA user_version = {VERSION};
"""

WHOLE_INPUTS = "SELECT path, kind, reading FROM inputs WHERE whole"

# The label that counts for a row of `patches`: what somebody gave before what was spread, the
# newest of these; of what was spread the newest batch alone, which says no label where it is
# not sure. Two lookups, because a condition that chooses between them would read every label.
COUNTS = "(origin = 'given' OR batch = (SELECT max(id) FROM label_batches WHERE kind = 'spread'))"
_BEST = f"AND {COUNTS} ORDER BY origin = 'given' DESC, labels.id DESC LIMIT 1"
LABEL = f"""
(CASE WHEN patches.track IS NULL
      THEN (SELECT label FROM labels WHERE labels.patch = patches.id {_BEST})
      ELSE (SELECT label FROM labels WHERE labels.track = patches.track {_BEST}) END)
"""


@contextmanager
def catalog_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's complaints about the file into errors with a remedy.

    Mistakes of this program (constraints, wrong SQL) pass through as they are.
    """
    try:
        yield
    except UnicodeDecodeError as error:  # Python cannot even read the complaint
        raise damaged(path, "a text in it is no text") from error
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
        case None if "decode to UTF-8" in str(error):  # Python's own, of a text it has read
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
            if version_of(connection, path) == 0:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heard before any table
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA secure_delete = ON")  # what is removed is really gone
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
    if version < 0:
        raise damaged(path, f"it says that its version is {version}")
    if version > VERSION:
        raise MismatchError(
            f"{path} has version {version}; this vr reads version {VERSION}.",
            mend="Use a newer vr, or build an index in another folder.",
        )
    if 0 < version < VERSION:
        raise MismatchError(
            f"{path} was made by an older vr (version {version}; this vr reads {VERSION}).",
            mend=f"Delete the folder {path.parent} and build the index again.",
        )
    return version
