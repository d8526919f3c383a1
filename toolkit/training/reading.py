"""A stored patch at the input size, fast: what decoding and `Preprocessing.fit` give, nearly.

OpenCV decodes and torch resizes, several times as fast as Pillow and without Python's lock, so
that threads can read ahead. The filters are the same, and the numbers differ by at most 2 of
255. A picture many times larger than the input is decoded at a half, a quarter or an eighth,
which libjpeg does before it computes the pixels. Real pictures then differ by less than 1 of
255 on average; what lies at their far edges may move by a part of a pixel of the input.

Only whole, ordinary JPEG files go this way. All else goes to `toolkit.images`, which reads
what it can and says what is wrong with the rest.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from toolkit.images import MAX_PIXELS, RgbImage, decode_image
from toolkit.patches.shards import StoredPair
from toolkit.preprocess import Preprocessing

# What is decoded smaller keeps this many pixels for each of the input, for the filter of the
# resize to work on.
OVERSIZE = 2
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}
# Of JPEG's start-of-frame markers C0 to CF these three are something else.
_NO_FRAME = (0xC4, 0xC8, 0xCC)


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What the frame header of a JPEG file says of it."""

    height: int
    width: int
    bits: int
    components: int


def read_patch(stored: StoredPair, part: str, preprocessing: Preprocessing) -> RgbImage:
    """The part "query.jpg" or "positive.jpg" of a pair, uint8 (height, width, 3) RGB.

    Raises ShardError, ImageError.
    """
    content = stored.read_bytes(part)
    image = _decode_jpeg(content, OVERSIZE * max(preprocessing.height, preprocessing.width))
    if image is None:
        return preprocessing.fit(decode_image(content, name=stored.name(part)))
    return _resized(image, preprocessing.height, preprocessing.width)


def jpeg_frame(content: bytes) -> JpegFrame | None:
    """The frame header of a JPEG file; None for what is no JPEG file from begin to end."""
    if not content.startswith(b"\xff\xd8") or not content.endswith(b"\xff\xd9"):
        return None
    place = 2
    while place + 10 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # filling between two segments
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height = int.from_bytes(content[place + 5 : place + 7])
            width = int.from_bytes(content[place + 7 : place + 9])
            return JpegFrame(height, width, content[place + 4], content[place + 9])
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return None


def _decode_jpeg(content: bytes, least: int) -> RgbImage | None:
    """Decode a JPEG, smaller where both sides stay at least `least`; None if it is not plain."""
    frame = jpeg_frame(content)
    if frame is None or frame.bits != 8 or frame.components not in (1, 3):
        return None
    if not 0 < frame.height * frame.width <= MAX_PIXELS:
        return None
    short = min(frame.height, frame.width)
    flags = next((flag for by, flag in _REDUCED.items() if short >= by * least), None)
    pixels = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(pixels, cv2.IMREAD_COLOR if flags is None else flags)
    if image is None:
        return None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _resized(image: RgbImage, height: int, width: int) -> RgbImage:
    if image.shape[:2] == (height, width):
        return image
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
    resized = torch.nn.functional.interpolate(
        pixels, (height, width), mode="bilinear", antialias=True
    )
    array: NDArray[np.uint8] = resized[0].permute(1, 2, 0).numpy()
    return array
