"""A mean image as Caffe keeps it: one BlobProto, 1 x channels x height x width, BGR."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.caffe.blobs import read_blob
from toolkit.caffe.files import read_file
from toolkit.caffe.wire import WireError
from toolkit.errors import InputError, MismatchError

MOST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class MeanImage:
    """pixels: float32 (channels, height, width), channels in the order of the file (BGR)."""

    pixels: NDArray[np.float32]

    @property
    def channel_means(self) -> list[float]:
        """The mean of each channel, rounded to three places."""
        return [round(float(value), 3) for value in self.pixels.mean((1, 2), np.float64)]


def read_mean(path: Path) -> MeanImage:
    """Read a .binaryproto. Raises InputError for a file that is missing, cut or no mean image."""
    content = read_file(path, "mean file (.binaryproto)", MOST_BYTES)
    try:
        pixels = read_blob(memoryview(content))
    except WireError as error:
        raise InputError(
            f"{path} is no whole mean file: {error}.", mend="Give a .binaryproto of Caffe."
        ) from error
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim != 3 or pixels.size == 0:
        shape = "x".join(map(str, pixels.shape))
        raise InputError(
            f"{path} is no mean image: its shape is {shape}.", mend="Give a .binaryproto of Caffe."
        )
    if not np.isfinite(pixels).all():
        raise InputError(f"{path} is no mean image: some of its values are no numbers.")
    return MeanImage(pixels)


def check_mean(mean: MeanImage, source: str, shape: tuple[int, int, int]) -> None:
    """Refuse a mean that does not belong to an input of `shape` with values of 0 to 255.

    Raises MismatchError.
    """
    if mean.pixels.shape != shape:
        given, wanted = ("x".join(map(str, sides)) for sides in (mean.pixels.shape, shape))
        raise MismatchError(
            f"The mean {source} is {given}, and the network takes {wanted}.",
            mend="Give the mean file that the model was published with.",
        )
    low, high = float(mean.pixels.min()), float(mean.pixels.max())
    if not (low >= 0 and high <= 255):  # NaN too
        raise MismatchError(
            f"The mean {source} has values from {low:g} to {high:g}; those of pixels lie from 0 "
            "to 255.",
            mend="Give the mean file that the model was published with.",
        )
