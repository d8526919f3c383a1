"""Where the patches of a list lie: folders and tar archives, read by name, never unpacked.

The table of the archives lies in a scratch database, so that millions of members take no
memory. An archive is not trusted: only plain members with plain names are taken up, and
what is read is bounded in size. A gzipped one is unpacked to a scratch file first, because
no place in it can be reached without all that lies before.
"""

import gzip
import os
import sqlite3
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from toolkit.errors import InputError, StorageError
from toolkit.records import Quarantined
from toolkit.workspace import storage_errors

MAX_IMAGE_BYTES = 64 * 1024 * 1024
_MAX_HEADER_BYTES = 1024 * 1024  # of one header; the longest real ones hold a path
_MAX_UNPACKING = 200  # a gzipped archive may grow this many times; pictures hardly grow at all
_SHOWN_EVERY = 256  # members
_GZIP = b"\x1f\x8b"
_OTHER_PACKERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}

OnRead = Callable[[Path, int, int], None]  # the archive, bytes read, bytes in all


class NotThereError(Exception):
    """A name leads to no usable file; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a patch lies: a run of bytes in a file."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes. Raises NotThereError."""
        try:
            with self.path.open("rb") as stream:
                content = os.pread(stream.fileno(), self.size, self.offset)
        except OSError as error:
            raise NotThereError(f"it cannot be read: {error.strerror}") from error
        if len(content) != self.size:
            raise NotThereError("it is cut short")
        return content


class PatchRoots:
    """Folders and archives, searched in their order; `damaged` are archives read in part."""

    def __init__(self, roots: Sequence[Path], scratch: Path) -> None:
        self.damaged: list[Quarantined] = []
        self._scratch = scratch
        self._roots = list(roots)  # an unpacked archive takes the place of the packed one
        self._folders = [root.is_dir() for root in roots]
        self._table = sqlite3.connect(scratch / "members.sqlite", isolation_level=None)

    def list_archives(self, on_read: OnRead) -> None:
        """Read the tables of all archives. Raises InputError, StorageError."""
        with table_errors(self._scratch):
            self._table.execute("PRAGMA journal_mode = OFF")
            self._table.execute("PRAGMA synchronous = OFF")
            self._table.execute(
                "CREATE TABLE member (name BLOB PRIMARY KEY, root INTEGER, start INTEGER, "
                "size INTEGER) WITHOUT ROWID"
            )
            self._table.execute("BEGIN")
            for number, root in enumerate(self._roots):
                if not self._folders[number]:
                    try:
                        self._list_archive(number, root, on_read)
                    except OSError as error:
                        raise InputError(f"Cannot read {root}: {error.strerror}.") from error

    def close(self) -> None:
        """Give the table up."""
        self._table.close()

    def find(self, name: str) -> Place:
        """The patch of that name, in the first root that has it. Raises NotThereError."""
        plain = plain_name(name)
        if plain is None:
            raise NotThereError("its path leads out of the root")
        row = self._table.execute(
            "SELECT root, start, size FROM member WHERE name = ?", (os.fsencode(plain),)
        ).fetchone()
        for number, root in enumerate(self._roots):
            if self._folders[number] and (place := _in_folder(root / plain)):
                return place
            if row is not None and row[0] == number:
                return _bounded(Place(root, row[1], row[2]))
        raise NotThereError("there is no such file")

    def _list_archive(self, number: int, archive: Path, on_read: OnRead) -> None:
        with archive.open("rb") as stream:
            head = stream.read(8)
        plain = archive
        if head.startswith(_GZIP):
            plain = self._scratch / f"{number}.tar"
            with storage_errors(self._scratch.parent, space_only=True):
                self._note(archive, _unpack(archive, plain, on_read))
            self._roots[number] = plain
        else:
            _refuse_packed(archive, head)
        size = plain.stat().st_size
        faults = _Faults()
        with plain.open("rb") as stream:
            for count, member in enumerate(_members(stream, size, archive, faults)):
                if count % _SHOWN_EVERY == 0:
                    on_read(archive, member.offset_data, size)
                # The last of a name counts, as when it is unpacked; the first root before later.
                self._table.execute(
                    "INSERT INTO member VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                    "start = excluded.start, size = excluded.size WHERE root = excluded.root",
                    (os.fsencode(plain_name(member.name) or ""), number, member.offset_data,
                     member.size),
                )  # fmt: skip
        for fault in (faults.damage, faults.passed_over):
            self._note(archive, fault)

    def _note(self, archive: Path, fault: str) -> None:
        if fault:
            self.damaged.append(Quarantined(str(archive), fault))


def plain_name(name: str) -> str | None:
    """A name relative to a root, in one spelling; None where it leads out of it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        return None
    return "/".join(parts)


def check_roots(roots: Sequence[Path]) -> None:
    """Raises InputError for a root that is neither a folder nor a plain file."""
    for root in roots:
        if not root.exists():
            raise InputError(
                f"There is no file or folder {root}.",
                mend="Give the folder or the archives of the patches with --root.",
            )
        if not root.is_dir() and not root.is_file():
            raise InputError(f"{root} is neither a folder nor a plain file.")


def _in_folder(path: Path) -> Place | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise NotThereError("it is no plain file")
    return _bounded(Place(path, 0, found.st_size))


def _bounded(place: Place) -> Place:
    if place.size > MAX_IMAGE_BYTES:
        raise NotThereError(f"it has {place.size:,} bytes, over {MAX_IMAGE_BYTES:,}")
    return place


class _BoundedHeaders:
    """A file that tarfile reads headers from: one that claims a huge header is damaged."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        """As of a file, but bounded."""
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)


@dataclass(slots=True)
class _Faults:
    """What is wrong with an archive: where it breaks off, and members that are not for use."""

    damage: str = ""
    passed_over: str = ""


def _members(
    stream: IO[bytes], size: int, archive: Path, faults: _Faults
) -> Iterator[tarfile.TarInfo]:
    """The plain members with plain names. Raises InputError for what is no tar."""
    headers: Any = _BoundedHeaders(stream)
    try:
        tar = tarfile.open(fileobj=headers, mode="r:")  # noqa: SIM115 - the stream is the caller's
    except tarfile.TarError as error:
        raise InputError(
            f"{archive} is no tar archive: {error}.",
            mend="Give a folder, or a .tar or .tar.gz file.",
        ) from error
    try:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            if member.size < 0 or member.offset_data + member.size > size:
                faults.damage = f"it is cut short in {member.name!r}; what lies before was used"
                return
            if plain_name(member.name) and member.isreg() and not member.issparse():
                yield member
            else:
                faults.passed_over = faults.passed_over or _odd(member)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        faults.damage = f"it is damaged ({error}); what lies before was used"
        return
    # tarfile takes any header that is none for the end.
    if os.pread(stream.fileno(), tarfile.BLOCKSIZE, tar.offset).strip(b"\0"):
        faults.damage = f"it is damaged at byte {tar.offset:,}; what lies before was used"


def _odd(member: tarfile.TarInfo) -> str:
    """Why a member is passed over; folders are nothing odd."""
    if member.isdir():
        return ""
    kind = "leads out of the archive" if plain_name(member.name) is None else "is no plain file"
    return f"the member {member.name!r} {kind}; such ones were passed over"


def _refuse_packed(archive: Path, head: bytes) -> None:
    for magic, packer in _OTHER_PACKERS.items():
        if head.startswith(magic):
            raise InputError(
                f"{archive} is packed with {packer}.", mend="Unpack it, and give the folder."
            )


def _unpack(archive: Path, target: Path, on_read: OnRead) -> str:
    """Unpack a gzipped file; what is wrong with it, or nothing. Raises InputError."""
    size = archive.stat().st_size
    most = size * _MAX_UNPACKING
    with archive.open("rb") as packed, target.open("wb") as out, gzip.open(packed) as stream:
        try:
            while block := stream.read1(1 << 20):  # read() would lose what lies before a fault
                if out.tell() > most:
                    raise InputError(
                        f"{archive} unpacks to over {_MAX_UNPACKING} times its size.",
                        mend="Unpack it yourself where you trust it, and give the folder.",
                    )
                out.write(block)
                on_read(archive, packed.tell(), size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return f"it is cut or damaged ({error}); what lies before was used"
    return ""


@contextmanager
def table_errors(folder: Path) -> Iterator[None]:
    """Turn SQLite's refusal to write a scratch file in `folder` into a StorageError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"Cannot write in {folder}: {error}.",
            mend="Free some space, or choose another target.",
        ) from error
