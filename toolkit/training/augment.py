"""What a patch is shown as: crops, mirrors, colour changes; one batch at a time, on the device.

The strength is fixed: strong in place and scale, so that the network cannot lean on where a
tracker's box happened to lie; mild in colour, which in one's own footage is among the best
cues there are. Both patches of a pair are changed alike, each drawn on its own.
"""

import math

import torch
from torch import Tensor

MIN_AREA = 0.4  # of a patch that a crop keeps
ASPECT = 4 / 3
ROTATION = math.radians(45)
BRIGHTNESS = 0.2
CONTRAST = 0.2
SATURATION = 0.1


def mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each of [B, 3, H, W] on its own with a chance of one half (paper, section 4.2)."""
    chance = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    return torch.where(chance < 0.5, images, images.flip(3))


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop, turn, mirror and colour of float [B, 3, H, W] (0..255), each on its own."""
    cropped = _random_crops(images, generator)
    return _random_colors(cropped, generator).clamp(0, 255)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(count, device=generator.device).uniform_(low, high, generator=generator)


def _random_crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crops of MIN_AREA to 1 of the area, turned, mirrored by half, resized back (bilinear)."""
    count = len(images)
    area = _uniform(count, MIN_AREA, 1, generator)
    stretch = _uniform(count, -1, 1, generator).mul(math.log(ASPECT) / 2).exp()
    width = (area.sqrt() * stretch).clamp(max=1)
    height = (area.sqrt() / stretch).clamp(max=1)
    left = _uniform(count, -1, 1, generator) * (1 - width)
    top = _uniform(count, -1, 1, generator) * (1 - height)
    flip = torch.where(_uniform(count, 0, 1, generator) < 0.5, 1.0, -1.0)
    turn = _uniform(count, -ROTATION, ROTATION, generator)
    cosine, sine = turn.cos(), turn.sin()
    # Where in the patch each output point comes from: scale and mirror, turn, then move.
    rows = [
        torch.stack([width * flip * cosine, -height * sine, left], 1),
        torch.stack([width * flip * sine, height * cosine, top], 1),
    ]
    grid = torch.nn.functional.affine_grid(
        torch.stack(rows, 1), list(images.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _random_colors(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation, each by a factor around 1."""
    count = len(images)

    def factor(strength: float) -> Tensor:
        return _uniform(count, 1 - strength, 1 + strength, generator).view(-1, 1, 1, 1)

    images = images * factor(BRIGHTNESS)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factor(CONTRAST)
    gray = images.mean(1, keepdim=True)
    return gray + (images - gray) * factor(SATURATION)
