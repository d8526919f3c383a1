"""One writer of a folder at a time, on this machine and wherever the storage passes locks on."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StorageError
from toolkit.workspace import storage_errors

FILE_NAME = ".lock"
_ASK_AGAIN_S = 0.1

# What a file system answers that keeps no locks.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


@contextmanager
def writing(folder: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of `folder`, made where needed; `what` is its name in messages.

    The system frees the lock whatever becomes of this process. Raises StorageError where
    another process holds it for longer than `wait_s`, where the folder cannot be made, or
    the storage has no locks.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / FILE_NAME).open("w")
    with stream:
        until = time.monotonic() + wait_s
        while not _take(stream.fileno(), what, last=time.monotonic() >= until):
            time.sleep(_ASK_AGAIN_S)
        yield


@contextmanager
def holding(target: Path, what: str) -> Iterator[None]:
    """Hold a lock beside `target`, which may be replaced or not be there; as `writing`.

    Nothing is left of it in the end.
    """
    file = target.with_name(f".{target.name}.lock")
    with storage_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with storage_errors(file):
            stream = file.open("w")
        with stream:
            _take(stream.fileno(), what, last=True)
            if _is_at(file, stream.fileno()):
                try:
                    yield
                finally:
                    file.unlink(missing_ok=True)
                return


def _is_at(file: Path, handle: int) -> bool:
    """Whether the open file is still that of this name: who held it before removes it."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def is_being_written(folder: Path) -> bool:
    """Whether somebody holds the lock of a folder just now; False where there is no folder."""
    try:
        with (folder / FILE_NAME).open("r") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # none was ever taken, or whoever takes it says what is wrong
        return False
    return False


def _take(handle: int, what: str, *, last: bool) -> bool:
    """Take the lock; False where another has it and this was not the last time to ask."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError as error:
        if not last:
            return False
        raise StorageError(
            f"Another vr is writing {what}.", mend="Wait until it is done and try again."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise StorageError(
            f"The storage of {what} keeps no locks, so two runs could mix there.",
            mend="Use a local disk, or a network file system that is mounted with locks.",
        ) from error
