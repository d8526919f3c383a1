"""Where things lie by default, and how files come to be: whole or not at all."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.drafts import close_draft, new_draft, replace_folder, sweep
from toolkit.errors import MismatchError, StorageError

PATCHES = Path("patches")
RUNS = Path("runs")
EXPORTED = Path("exported")
INDEX = Path("index")


_NO_SPACE = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose another target."),
    errno.EDQUOT: ("your quota is used up", "Free some space, or choose another target."),
    errno.EFBIG: ("the file grows larger than the system allows", "Raise ulimit -f."),
}
_NOT_WRITABLE = {
    errno.EACCES: ("permission is denied", "Choose a folder that you may write to."),
    errno.EPERM: ("permission is denied", "Choose a folder that you may write to."),
    errno.EROFS: ("the file system is read-only", "Choose another target."),
    errno.ENOTDIR: ("a file is in the way of the folder", "Choose another target."),
    errno.EEXIST: ("a file is in the way of the folder", "Choose another target."),
    errno.EISDIR: ("a folder is in the way of the file", "Choose another target."),
    errno.ENOTEMPTY: ("a folder is in the way", "Choose another target."),
    errno.ENOENT: ("its folder takes no files", "Choose another target."),
    errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter name."),
    errno.ELOOP: ("links lead in a circle", "Choose another target."),
}


@contextmanager
def storage_errors(target: Path, *, space_only: bool = False) -> Iterator[None]:
    """Turn the operating system's refusal to write `target` into a StorageError.

    space_only: only where no room is left, for code that also reads: what it may not read
    is not the target's fault.
    """
    remedies = _NO_SPACE if space_only else _NO_SPACE | _NOT_WRITABLE
    try:
        yield
    except OSError as error:
        if error.errno not in remedies:
            raise
        reason, mend = remedies[error.errno]
        raise StorageError(f"Cannot write {target}: {reason}.", mend=mend) from error


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling that becomes `target` on success and vanishes on failure.

    The content is flushed to the disk before the rename, so that a crash leaves the old
    file or the new one, never half of it. A link is followed. Raises StorageError, also for
    a device or a pipe: a rename would put a plain file in its place.
    """
    with storage_errors(target):
        target = Path(os.path.realpath(target)) if target.is_symlink() else target
        if target.exists() and not target.is_file() and not target.is_dir():
            raise StorageError(f"Cannot write {target}: it is no plain file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        draft = new_draft(target)
    try:
        with storage_errors(target, space_only=True):
            yield draft
        with storage_errors(target):
            draft.chmod(0o644)
            _flush(draft)
            draft.replace(target)
            _flush(target.parent)
    finally:
        close_draft(draft)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling folder that replaces `target` on success.

    Raises StorageError. An old `target` is moved aside first and deleted last; after a kill
    between the two, `toolkit.drafts.recover` brings it back.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        draft = new_draft(target, folder=True)
    try:
        with storage_errors(target, space_only=True):
            yield draft
        with storage_errors(target):
            draft.chmod(0o755)
            replace_folder(draft, target)
            _flush(target.parent)
    finally:
        close_draft(draft)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a whole file, atomically. Raises StorageError."""
    with atomic_file(target) as draft:
        draft.write_bytes(content)


def write_json(target: Path, content: Any) -> None:
    """Write one JSON document, atomically, with sorted keys. Raises StorageError."""
    write_bytes(target, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def parse_json(content: bytes | str) -> Any:
    """Parse JSON that nobody vouches for. Raises ValueError, also for what is nested too deep."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def read_json(source: Path, what: str) -> dict[str, Any]:
    """Read a JSON object. Raises MismatchError that names `what` when it is not one.

    So it does for a pipe or a device, which could be read for ever.
    """
    if source.exists() and not source.is_file():
        raise MismatchError(f"{source} is no readable {what}: it is no plain file.")
    try:
        content = parse_json(source.read_bytes())
    except (OSError, ValueError) as error:
        raise MismatchError(f"{source} is no readable {what}: {error}.") from error
    if not isinstance(content, dict):
        raise MismatchError(f"{source} is no {what}: it holds no JSON object.")
    return content


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
