"""Images in and out: uint8 RGB arrays, read strictly, resized one way everywhere.

The one resize that training, parity, indexing and search share is `resize` below: a
network only retrieves well when its input is made in the same way each time.
"""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from toolkit.errors import ImageError
from toolkit.records import Box

RgbImage = NDArray[np.uint8]  # (height, width, 3)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
# An image that claims more is refused before it is decoded: 1 GiB at 12 bytes a pixel. It is
# also where Pillow starts to warn.
MAX_PIXELS = 89_478_485
_DEEP_GRAY = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})


def read_image(path: Path) -> RgbImage:
    """Read an image file, upright, as uint8 RGB (height, width, 3).

    Gray of 16 bits loses its lower 8, so that a value gives the same gray in every image. What
    is transparent lies on white.
    Raises ImageError for a missing, foreign, truncated or outsized file, and for one whose
    numbers are no gray of 16 bits.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"Cannot read the image {path}: {error.strerror}.", mend="Give the path of an image."
        ) from error
    return decode_image(content, name=str(path))


def decode_image(content: bytes, *, name: str) -> RgbImage:
    """Decode the bytes of an image file; `name` is for the message. Raises ImageError."""
    if not content:
        raise ImageError(f"{name} is empty.", mend="Give an image file, such as a JPEG or PNG.")
    try:
        with _open(content) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _outsized(name)
            upright = ImageOps.exif_transpose(image)
            if upright.mode in _DEEP_GRAY:
                return _from_deep_gray(np.asarray(upright), name)
            if upright.has_transparency_data:
                # What is transparent has any colour, often that of what is drawn.
                drawn = upright.convert("RGBA")
                paper = Image.new("RGBA", drawn.size, "white")
                upright = Image.alpha_composite(paper, drawn)
            return np.array(upright.convert("RGB"), dtype=np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _outsized(name) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image that can be read.", mend="Give a JPEG, PNG or WebP file."
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{name} is damaged: {error}.", mend="Give a whole image file.") from error


def _open(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content))


def _outsized(name: str) -> ImageError:
    return ImageError(f"{name} has more than {MAX_PIXELS:,} pixels.", mend="Give a smaller image.")


def _from_deep_gray(values: NDArray[Any], name: str) -> RgbImage:
    # Pillow's own conversion cuts off at 255, which turns nearly everything white. NaN fails
    # the comparison.
    if not np.all((values >= 0) & (values <= 65535)) or np.any(values % 1):
        raise ImageError(
            f"{name} holds numbers that are no gray of 16 bits (0 to 65535).",
            mend="Save it with 8 or 16 bits a channel.",
        )
    gray = (values.astype(np.uint16) >> 8).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def encode_jpeg(image: RgbImage, *, quality: int = 92) -> bytes:
    """Encode as JPEG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def resize(image: RgbImage, height: int, width: int) -> RgbImage:
    """Resize with an antialiasing bilinear filter; the aspect ratio follows the target."""
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)


def crop(image: RgbImage, box: Box) -> RgbImage:
    """Cut the box out of the image, clipped to its borders, at least one pixel each way."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = _pixels(box, width, height)
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def _pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    x0 = min(max(round(box.x0), 0), width - 1)
    y0 = min(max(round(box.y0), 0), height - 1)
    x1 = min(max(round(box.x1), x0 + 1), width)
    y1 = min(max(round(box.y1), y0 + 1), height)
    return x0, y0, x1, y1


def crop_patch(image: RgbImage, box: Box) -> RgbImage:
    """Cut the square patch that a network sees of a box; see `patch_pixels`."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = patch_pixels(box, width, height)
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def patch_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The pixels (x0, y0, x1, y1) of the patch of a box: the same middle, the longer side.

    Where the square crosses the border it is moved inside, and where the frame is smaller
    than the square it is clipped. Mining, indexing of videos and `--box` all use this.
    """
    side = min(max(box.width, box.height), max(height, width))
    cx, cy = box.center
    cx = width / 2 if side >= width else min(max(cx, side / 2), width - side / 2)
    cy = height / 2 if side >= height else min(max(cy, side / 2), height - side / 2)
    return _pixels(Box.around(cx, cy, side, side), width, height)


def shrink(image: RgbImage, longest: int) -> RgbImage:
    """Resize so that the longer side is at most `longest` pixels; never enlarges."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    return resize(image, max(1, round(height * factor)), max(1, round(width * factor)))
