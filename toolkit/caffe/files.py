"""What every reader of Caffe's files does first: open a file of bounded size, or say why not."""

from pathlib import Path

from toolkit.errors import InputError


def read_file(path: Path, what: str, most_bytes: int) -> bytes:
    """The content of a plain file. Raises InputError that names `what` was looked for."""
    if not path.exists():
        raise InputError(f"There is no file {path}.", mend=f"Give the path of a {what}.")
    if not path.is_file():
        raise InputError(f"{path} is no plain file.", mend=f"Give the path of a {what}.")
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise InputError(f"{path} is no {what}: it has {size:,} bytes, over {most_bytes:,}.")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if not content:
        raise InputError(f"{path} is empty.", mend=f"Give a whole {what}.")
    return content
