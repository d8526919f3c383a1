"""One writer of a folder at a time, on this machine and wherever the storage passes locks on."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StorageError
from toolkit.workspace import storage_errors

FILE_NAME = ".lock"

# What a file system answers that keeps no locks.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


@contextmanager
def writing(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of `folder`, made where needed; `what` is its name in messages.

    The system frees the lock whatever becomes of this process. Raises StorageError where
    another process holds it, where the folder cannot be made, or the storage has no locks.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / FILE_NAME).open("w")
    with stream:
        _take(stream.fileno(), what)
        yield


def _take(handle: int, what: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
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
