"""Synthetic footage for the paper's recipe: a large textured patch over a textured wall."""

from collections.abc import Callable, Sequence

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.video.frame import Frame

Picture = NDArray[np.uint8]  # RGB
Place = tuple[float, float]


def texture(height: int, width: int, seed: int) -> NDArray[np.float32]:
    """Coloured blotches, soft enough to be followed by fractions of a pixel."""
    import cv2

    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cell in (8, 20):
        blotches = random.random((height // cell + 1, width // cell + 1, 3)).astype(np.float32)
        picture += np.kron(blotches, np.ones((cell, cell, 1), np.float32))[:height, :width]
    return cv2.GaussianBlur(127 * picture, (0, 0), 1.5)


def scene(patch: Place | None, side: int = 290, pan: Place = (0.0, 0.0), wall: int = 0) -> Picture:
    """A frame of 448x600: the wall behind the camera's pan, a square patch with that corner."""
    import cv2

    place = np.array([[1, 0, -pan[0] - 60], [0, 1, -pan[1] - 60]], np.float64)
    frame = cv2.warpAffine(texture(568, 720, 100 + wall), place, (600, 448))
    if patch is not None:
        place = np.array([[1, 0, patch[0]], [0, 1, patch[1]]], np.float64)
        cover = cv2.warpAffine(np.ones((side, side), np.float32), place, (600, 448))[..., None]
        frame = frame * (1 - cover) + cv2.warpAffine(texture(side, side, 1), place, (600, 448))
    return frame.clip(0, 255).astype(np.uint8)


def shown(pictures: Sequence[Picture], times_s: Sequence[float] | None = None) -> list[Frame]:
    """Frames of these pictures, 25 a second, as the decoder would give them."""
    times_s = times_s or [index / 25 for index in range(len(pictures))]
    return [
        Frame(time_s, av.VideoFrame.from_ndarray(picture, format="rgb24"), 0)
        for time_s, picture in zip(times_s, pictures, strict=True)
    ]


@pytest.fixture
def draw() -> Callable[..., Picture]:
    """draw(patch, side, pan, wall): one frame; see `scene`."""
    return scene


@pytest.fixture
def as_frames() -> Callable[..., list[Frame]]:
    """as_frames(pictures, times_s): see `shown`."""
    return shown
