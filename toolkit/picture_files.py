"""Pictures in files and folders, read in batches; what cannot be read is set aside."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import ImageError, InputError
from toolkit.images import IMAGE_SUFFIXES, RgbImage, read_image
from toolkit.preprocess import Preprocessing
from toolkit.video.find import OWN_FOLDERS, is_special

_READERS = 4  # threads: decoding and resizing let go of the interpreter


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """images: uint8 RGB (N, height, width, 3), of `paths`; N may be 0.

    unreadable: the paths that were set aside, with the reason.
    """

    paths: tuple[Path, ...]
    images: NDArray[np.uint8]
    unreadable: tuple[tuple[Path, str], ...]


def find_pictures(sources: Sequence[Path]) -> list[Path]:
    """The pictures that `sources` mean, each once, in a fixed order.

    A file is taken as it is, whatever its name. A folder is walked, sorted, for the suffixes
    of pictures; hidden files and folders are passed over, and so are those that vr writes,
    directly in it. Raises InputError for what is not there, no plain file, or may not be read.
    """
    found: dict[Path, None] = {}
    for source in sources:
        if not source.exists():
            raise InputError(
                f"There is no file or folder {source}.", mend="Give pictures, or folders of them."
            )
        if is_special(source):
            raise InputError(f"{source} is no plain file.", mend="Give files: no pipe, no device.")
        try:
            pictures = _walk(source, OWN_FOLDERS) if source.is_dir() else [source]
            found.update(dict.fromkeys(pictures))
        except OSError as error:
            raise InputError(f"Cannot read {error.filename}: {error.strerror}.") from error
    return list(found)


def _walk(folder: Path, skip: frozenset[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            # A linked folder could lead back up and be walked for ever.
            if path.name not in skip and not path.is_symlink():
                yield from _walk(path, frozenset())
        elif path.suffix.lower() in IMAGE_SUFFIXES and not is_special(path):
            yield path


def read_batches(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    size: int,
    read: Callable[[Path], RgbImage] = read_image,
) -> Iterator[PictureBatch]:
    """The pictures, fitted to the network's input, `size` at a time in their order.

    The next batch is read while the caller works on one. read: a path to uint8 RGB.
    """
    with ThreadPoolExecutor(_READERS) as pool:

        def fitted(path: Path) -> RgbImage:
            return preprocessing.fit(read(path))

        def begin(start: int) -> list[Future[RgbImage]]:
            return [pool.submit(fitted, path) for path in paths[start : start + size]]

        reading = begin(0)
        for start in range(0, len(paths), size):
            now, reading = reading, begin(start + size)
            yield _collect(paths[start : start + size], now, preprocessing)


def _collect(
    paths: Sequence[Path], reading: list[Future[RgbImage]], spec: Preprocessing
) -> PictureBatch:
    good: list[Path] = []
    images: list[RgbImage] = []
    unreadable: list[tuple[Path, str]] = []
    for path, future in zip(paths, reading, strict=True):
        try:
            images.append(future.result())
        except ImageError as error:
            unreadable.append((path, error.problem))
        else:
            good.append(path)
    return PictureBatch(tuple(good), spec.fit_batch(images), tuple(unreadable))
