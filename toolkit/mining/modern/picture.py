"""An analysed frame at its two sizes."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from toolkit.video.frame import GrayImage

STEP = 2  # pixels of the analysed frame in a place of the coarse one, each way
MIN_CHANGE = 10  # gray levels; less is noise


@dataclass(frozen=True, slots=True)
class Picture:
    """What points are followed in, and what moving places are looked for in.

    gray: uint8 (height, width); coarse: the same over STEP, each place the mean of its pixels.
    """

    gray: GrayImage
    coarse: GrayImage

    @classmethod
    def of(cls, gray: GrayImage) -> Self:
        """Of a gray frame."""
        import cv2

        places = (-(-gray.shape[1] // STEP), -(-gray.shape[0] // STEP))
        coarse = cv2.resize(gray, places, interpolation=cv2.INTER_AREA)
        return cls(gray, np.asarray(coarse, np.uint8))

    def equals(self, other: "Picture") -> bool:
        """Whether nothing is seen to change between two frames of one size."""
        import cv2

        return float(cv2.norm(self.coarse, other.coarse, cv2.NORM_INF)) <= MIN_CHANGE
