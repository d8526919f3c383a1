"""What happens to a picture before the first layer, in one record.

The network (toolkit.networks.embedder) carries out everything but the resize, so that an
exported graph takes plain uint8 RGB and nothing is left for a caller to get wrong.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import UsageError
from toolkit.images import RgbImage, resize

Channels = Literal["rgb", "bgr", "gray"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The input of a network.

    Images are resized to (height, width); then, inside the graph, put in the order
    `channels` (gray is repeated three times), multiplied by `scale`, and the mean is taken
    off and the deviation divided out (both are weights, not settings).
    """

    height: int
    width: int
    channels: Channels = "rgb"
    scale: float = 1 / 255

    def __post_init__(self) -> None:
        if not (16 <= self.height <= 4096 and 16 <= self.width <= 4096):
            raise UsageError(
                f"An input of {self.height}x{self.width} pixels is out of range.",
                mend="Choose a size from 16 to 4096.",
            )
        if self.channels not in get_args(Channels):
            raise UsageError(
                f"The channels {self.channels!r} are not known.", mend="Use rgb, bgr or gray."
            )

    def fit(self, image: RgbImage) -> RgbImage:
        """Resize one uint8 RGB image (any height and width) to the input size."""
        return resize(image, self.height, self.width)

    def fit_batch(self, images: list[RgbImage]) -> NDArray[np.uint8]:
        """Resize and stack: uint8 (N, height, width, 3), N may be 0."""
        if not images:
            return np.zeros((0, self.height, self.width, 3), np.uint8)
        return np.stack([self.fit(image) for image in images])

    def as_json(self) -> dict[str, Any]:
        """As it stands in model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises KeyError, TypeError, ValueError or UsageError."""
        return cls(
            int(content["height"]),
            int(content["width"]),
            content["channels"],
            float(content["scale"]),
        )
