"""One writer at a time, on this machine and wherever the file system passes locks on."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StorageError
from toolkit.workspace import storage_errors

FILE_NAME = ".lock"


@contextmanager
def writing(index: Path) -> Iterator[None]:
    """Hold the index's lock; the system frees it whatever becomes of this process.

    Raises StorageError where another process holds it, and where the folder cannot be made.
    """
    with storage_errors(index):
        index.mkdir(parents=True, exist_ok=True)
        stream = (index / FILE_NAME).open("w")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"Another vr is writing the index {index}.",
                mend="Wait until it is done and try again.",
            ) from error
        yield
