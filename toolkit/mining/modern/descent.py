"""Lucas and Kanade's descent in torch: many windows of an image find their places in another.

Images are float32 (1, C, height, width) on any device of torch; places are (..., 2), x and y
in pixels. All windows take the same number of steps, so that the device never waits for an
answer, and sums are taken without atomic additions and without reduced precision: the same
images give the same result on one device.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of K pixels, and what a difference at each pixel says about their motion.

    places: (N, K, 2); template: (N, K), what is seen there; answer: (N, 2, K), pixels to move
    for a gray level; texture: (N,), the smaller eigenvalue of the mean structure tensor.
    """

    places: "Tensor"
    template: "Tensor"
    answer: "Tensor"
    texture: "Tensor"

    @classmethod
    def of(
        cls, image: "Tensor", places: "Tensor", *, damping: float = 0.0, least: float = 0.0
    ) -> Self:
        """The windows of an image with its gradients; those with less texture do not move.

        With damping, gray levels a pixel squared, a change of light is no difference either,
        and what has less texture than that moves little.
        """
        import torch

        template = sample(image[:, :1], places)[0]
        # Beyond the edges it is mirrored, which tells nothing about motion.
        gradients = sample(image[:, 1:], places, beyond="zeros").transpose(0, 1)
        if damping:
            gradients = gradients - gradients.mean(-1, keepdim=True)
        across, down = gradients.unbind(1)
        xx, yy = (across * across).mean(-1) + damping, (down * down).mean(-1) + damping
        xy = (across * down).mean(-1)
        texture = (xx + yy) / 2 - torch.sqrt(((xx - yy) / 2) ** 2 + xy * xy)
        inverse = torch.stack([yy, -xy, -xy, xx], 1).reshape(-1, 2, 2, 1)
        inverse = inverse / ((xx * yy - xy * xy) * across.shape[1])[:, None, None, None]
        answer = (inverse * gradients[:, None]).sum(2)
        return cls(places, template, answer.where((texture >= least)[:, None, None], 0), texture)

    def off(self, target: "Tensor", move: "Tensor") -> "Tensor":
        """How many gray levels is missing in the target (N, K) where windows move (N, 2)."""
        return self.template - sample(target[:, :1], self.places + move[:, None])[0]

    def descend(self, target: "Tensor", move: "Tensor", steps: int) -> "Tensor":
        """The moves (N, 2) at which they look most like in the target, from a guess on."""
        for _ in range(steps):
            move = move + (self.answer * self.off(target, move)[:, None]).sum(-1)
        return move


def sample(image: "Tensor", places: "Tensor", *, beyond: str = "reflection") -> "Tensor":
    """(C, N, K) of an image at places (N, K, 2), between pixels too, and beyond its edges."""
    from torch.nn import functional

    height, width = image.shape[-2:]
    grid = places * _unit(width, height, str(image.device)) - 1
    seen = functional.grid_sample(image, grid[None], padding_mode=beyond, align_corners=True)
    return seen[0]


def with_gradients(images: "Tensor") -> "Tensor":
    """(N, 3, H, W) of images (N, 1, H, W): gray, and Scharr's gradients in gray a pixel."""
    import torch
    from torch.nn import functional

    wide = functional.pad(images, (1, 1, 1, 1), "reflect")
    tall, broad = _smoothed(wide.mT).mT, _smoothed(wide)
    across = (tall[..., 2:] - tall[..., :-2]) / 2
    down = (broad[..., 2:, :] - broad[..., :-2, :]) / 2
    return torch.cat([images, across, down], dim=1)


def _smoothed(images: "Tensor") -> "Tensor":
    return (3 * (images[..., :-2] + images[..., 2:]) + 10 * images[..., 1:-1]) / 16


@lru_cache(maxsize=64)
def window(across: int, down: int, first_x: int, first_y: int, device: str) -> "Tensor":
    """The pixels (K, 2) of a window, row by row, its first at (first_x, first_y)."""
    import torch

    x = torch.arange(first_x, first_x + across, device=device)
    y = torch.arange(first_y, first_y + down, device=device)
    return torch.cartesian_prod(y, x).flip(1).float()


@lru_cache(maxsize=64)
def _unit(width: int, height: int, device: str) -> "Tensor":
    import torch

    return torch.tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)], device=device)
