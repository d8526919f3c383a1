"""What a patch is shown as: crops, mirrors, colour changes; one batch at a time, on the device.

The strength is fixed but for the turn: strong in place and scale, so that the network cannot
lean on where a tracker's box happened to lie; mild in colour, which in one's own footage is
among the best cues there are. Both patches of a pair are changed alike, each drawn on its own.

What is drawn is drawn for all rows of a step, on the processor, and each process takes its
own: so the pictures are the same on one process and on many, on a GPU and without.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_AREA = 0.4  # of a patch that a crop keeps
ASPECT = 4 / 3
BRIGHTNESS = 0.2
CONTRAST = 0.2
SATURATION = 0.1


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a step a tensor holds: from `first` on, of `total` over all processes."""

    first: int
    total: int

    @classmethod
    def of(cls, images: Tensor) -> "Rows":
        """All rows, where there is one process."""
        return cls(0, len(images))


def mirror(images: Tensor, generator: torch.Generator, rows: Rows) -> Tensor:
    """Mirror each of [B, 3, H, W] on its own with a chance of one half (paper, section 4.2).

    generator: one of the CPU; images may be on any device.
    """
    chance = torch.rand(rows.total, generator=generator)
    kept = _own(chance < 0.5, rows, images).view(-1, 1, 1, 1)
    return torch.where(kept, images, images.flip(3))


def augment(images: Tensor, generator: torch.Generator, rows: Rows, turn_degrees: float) -> Tensor:
    """Random crop, turn, mirror and colour of float [B, 3, H, W] (0..255), each on its own.

    generator: one of the CPU; images may be on any device. turn_degrees: the most that a
    patch is turned, either way.
    """
    chance = torch.rand(rows.total, 9, generator=generator)
    table = torch.cat([_places(chance[:, :6], turn_degrees), _colors(chance[:, 6:])], 1)
    own = _own(table, rows, images)
    cropped = torch.nn.functional.grid_sample(
        images,
        _grid(own[:, :6], images.shape[2], images.shape[3]),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return _recolored(cropped, own[:, 6:])


def _own(table: Tensor, rows: Rows, images: Tensor) -> Tensor:
    """The rows of a table (total, ...) that belong to the images, on their device."""
    own = table[rows.first : rows.first + len(images)]
    return own.to(images.device, non_blocking=True)


def _places(chance: Tensor, turn_degrees: float) -> Tensor:
    """Where each output point comes from: (N, 6) of 0..1 to (N, 6), two rows of an affine map.

    Crops of MIN_AREA to 1 of the area, turned, mirrored by half.
    """
    area, stretch, left, top, flip, turn = chance.unbind(1)
    area = MIN_AREA + (1 - MIN_AREA) * area
    stretch = torch.exp((2 * stretch - 1) * (math.log(ASPECT) / 2))
    width = (area.sqrt() * stretch).clamp(max=1)
    height = (area.sqrt() / stretch).clamp(max=1)
    x = (2 * left - 1) * (1 - width)
    y = (2 * top - 1) * (1 - height)
    angle = (2 * turn - 1) * math.radians(turn_degrees)
    flipped = torch.where(flip < 0.5, width, -width)
    cosine, sine = angle.cos(), angle.sin()
    # Scale and mirror, turn, then move.
    rows = [flipped * cosine, -height * sine, x, flipped * sine, height * cosine, y]
    return torch.stack(rows, 1)


def _grid(places: Tensor, height: int, width: int) -> Tensor:
    """Affine maps (B, 6) to sampling points (B, H, W, 2); affine_grid takes far longer."""
    across = _middles(width, places).view(1, 1, width, 1)
    down = _middles(height, places).view(1, height, 1, 1)
    along_x, along_y, start = places.view(-1, 1, 1, 2, 3).unbind(-1)
    return along_x * across + (along_y * down + start)


def _middles(count: int, like: Tensor) -> Tensor:
    """The middles of `count` equal parts of -1..1."""
    return (torch.arange(count, device=like.device) * 2 + (1 - count)) / count


def _colors(chance: Tensor) -> Tensor:
    """Factors around 1 of brightness, contrast and saturation: (N, 3) of 0..1 to (N, 3)."""
    strength = torch.tensor([BRIGHTNESS, CONTRAST, SATURATION])
    return 1 + (2 * chance - 1) * strength


def _recolored(images: Tensor, factors: Tensor) -> Tensor:
    """Brightness, then contrast around the mean, then saturation around the gray.

    Together they are one affine map of a pixel's three numbers.
    """
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1).unbind(1)
    scale = brightness * contrast
    alone = torch.eye(3, device=images.device) * (scale * saturation)
    mixed = alone + scale * (1 - saturation) / 3
    mean = images.mean((1, 2, 3)).view(-1, 1, 1)
    moved = torch.baddbmm(brightness * (1 - contrast) * mean, mixed, images.flatten(2))
    return moved.clamp_(0, 255).view(images.shape)
