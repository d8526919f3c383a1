"""One frame that was decoded on the GPU: only small copies and cut boxes come down from it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np

from toolkit.images import RgbImage
from toolkit.video.frame import Frame, GrayImage

if TYPE_CHECKING:
    from torch import Tensor

_KR_KB = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}  # BT.709, BT.2020
_KR_KB_601 = (0.299, 0.114)  # what decoders take where a video does not say
_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG


@dataclass(frozen=True, slots=True)
class Luma:
    """How the gray of a video comes out of its colours again.

    weights: of red, green and blue, which sum to 1 for a full range; black: the value of
    black; interlaced: whether a frame holds two fields.
    """

    weights: tuple[float, float, float]
    black: float
    interlaced: bool

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """That of a video, by one of its frames."""
        image = frame.image
        red, blue = _KR_KB.get(int(image.colorspace), _KR_KB_601)
        full = int(image.color_range) == _FULL_RANGE or image.format.name.startswith("yuvj")
        scale = 1.0 if full else 219 / 255
        weights = (red * scale, (1 - red - blue) * scale, blue * scale)
        return cls(weights, 0.0 if full else 16.0, bool(image.interlaced_frame))


@dataclass(frozen=True, slots=True)
class CudaFrame:
    """A frame at its PTS, seconds, upright, with the pictures of `toolkit.video.frame.Frame`.

    pixels: uint8 RGB (height, width, 3) on the device, a view of the batch it was decoded in:
    whoever keeps a frame keeps the memory of its batch. Gray has the video's own values, and
    differs from the CPU's by a few levels, because it has been through RGB.
    """

    time_s: float
    pixels: "Tensor"
    luma: Luma

    @property
    def width(self) -> int:
        """Pixels across the upright frame."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels down the upright frame."""
        return int(self.pixels.shape[0])

    def small(self, long_side: int) -> GrayImage:
        """A gray copy, contiguous uint8, its longer side at most `long_side` pixels.

        Each pixel is the mean of those that it covers; nothing is enlarged.
        """
        gray = self._gray()
        factor = long_side / max(self.width, self.height)
        if factor < 1:
            height, width = (max(1, round(side * factor)) for side in (self.height, self.width))
            device = str(gray.device)
            rows = _means(self.height, height, device)
            gray = rows @ gray @ _means(self.width, width, device).T
        return np.asarray(gray.round().clamp(0, 255).byte().cpu().numpy(), np.uint8)

    def rgb(self) -> RgbImage:
        """The picture as uint8 RGB (height, width, 3)."""
        return self.crop(0, 0, self.width, self.height)

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> RgbImage:
        """A box of `rgb()`, cut on the device.

        The box is in pixels of the upright frame, x1 and y1 not included, and lies inside it.
        """
        if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
            raise ValueError(f"({x0}, {y0}, {x1}, {y1}) is no box in {self.width}x{self.height}.")
        cut = self.pixels[:, x0:x1]
        if self.luma.interlaced:
            field = cut[::2][y0 // 2 : y1 // 2 + 1]
            cut = _with_rows_between(field)[y0 % 2 :][: y1 - y0]
        else:
            cut = cut[y0:y1]
        return np.asarray(cut.contiguous().cpu().numpy(), np.uint8)

    def _gray(self) -> "Tensor":
        """The luma as float32 (height, width), on the device."""
        import torch

        pixels = self.pixels[::2] if self.luma.interlaced else self.pixels
        # One channel after the other: all at once as floats are four times the frame.
        gray = torch.full(pixels.shape[:2], self.luma.black, device=pixels.device)
        for channel, weight in enumerate(self.luma.weights):
            gray.add_(pixels[..., channel], alpha=weight)
        return _with_rows_between(gray)[: self.height] if self.luma.interlaced else gray


def _with_rows_between(field: "Tensor") -> "Tensor":
    """Twice the rows: after each one the mean of it and the next, or itself at the end."""
    import torch

    after = torch.cat((field[1:], field[-1:]))
    if field.is_floating_point():
        between = (field + after) / 2
    else:
        between = (field & after) + ((field ^ after) >> 1)  # rounded down, with no overflow
    return torch.stack((field, between), dim=1).flatten(0, 1)


@lru_cache(maxsize=16)
def _means(source: int, target: int, device: str) -> "Tensor":
    """Float32 (target, source): what each of `source` pixels gives to each of fewer ones."""
    import torch

    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    ends = np.minimum(edges[1:, None], pixels + 1)
    shares = np.clip(ends - np.maximum(edges[:-1, None], pixels), 0, None) * (target / source)
    return torch.from_numpy(shares.astype(np.float32)).to(device)
