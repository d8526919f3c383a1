"""Where things lie by default, and how files come to be: whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from toolkit.errors import MismatchError, StorageError

PATCHES = Path("patches")
RUNS = Path("runs")
EXPORTED = Path("exported")
INDEX = Path("index")


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `target` into a StorageError."""
    remedies = {
        errno.ENOSPC: ("the disk is full", "Free some space, or choose another target."),
        errno.EDQUOT: ("your quota is used up", "Free some space, or choose another target."),
        errno.EACCES: ("permission is denied", "Choose a folder that you may write to."),
        errno.EPERM: ("permission is denied", "Choose a folder that you may write to."),
        errno.EROFS: ("the file system is read-only", "Choose another target."),
        errno.ENOTDIR: ("a file is in the way of the folder", "Choose another target."),
        errno.EEXIST: ("a file is in the way of the folder", "Choose another target."),
    }
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
    file or the new one, never half of it. Raises StorageError.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            draft.chmod(0o644)
            _flush(draft)
            draft.replace(target)
            _flush(target.parent)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling folder that replaces `target` on success.

    Raises StorageError. An old `target` is moved aside first and deleted last.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            yield draft
            draft.chmod(0o755)
            _replace_folder(draft, target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _replace_folder(draft: Path, target: Path) -> None:
    aside = draft.with_name(draft.name + ".old")
    if target.exists():
        target.replace(aside)
    try:
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            aside.replace(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
    _flush(target.parent)


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


def read_json(source: Path, what: str) -> dict[str, Any]:
    """Read a JSON object. Raises MismatchError that names `what` when it is not one."""
    try:
        content = json.loads(source.read_bytes())
    except (OSError, ValueError) as error:
        raise MismatchError(f"{source} is no readable {what}: {error}.") from error
    if not isinstance(content, dict):
        raise MismatchError(f"{source} is no {what}: it holds no JSON object.")
    return content


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
