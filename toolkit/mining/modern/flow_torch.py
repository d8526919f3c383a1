"""The two functions of `toolkit.mining.modern.flow` in torch, for any of its devices."""

from typing import TYPE_CHECKING

import numpy as np

from toolkit.mining.modern.descent import Windows, sample, window, with_gradients
from toolkit.mining.modern.flow import (
    _FINEST_SCALE,
    _ITERATIONS,
    _LEVELS,
    _MIN_EIGENVALUE,
    _STEPS,
    _WINDOW,
    LOST_PX,
    FlowField,
    Followed,
    Points,
)
from toolkit.video.frame import GrayImage

if TYPE_CHECKING:
    from torch import Tensor

# OpenCV takes gradients 32 times, and the eigenvalue 2**20 times smaller than that squared.
_LEAST = _MIN_EIGENVALUE * 2**20 / 32**2
_AT_ONCE = 4096  # points; their windows take 20 MB
_PATCH = 8  # pixels of a side of the dense flow's patches
_STRIDE = 4
_COARSEST = 3  # times that the frame is halved
_DAMPING = 1.0  # gray levels a pixel, squared
_ROUNDS = 2  # in which patches take over from their neighbours what fits them better


def follow(
    previous: GrayImage, current: GrayImage, points: Points, expected: Points, device: str
) -> Followed:
    """Follow points (N, 2) there and back as `flow.follow` does, on a device of torch.

    The results differ from OpenCV's by hundredths of a pixel where both find a point.
    """
    import torch

    if not len(points):
        return Followed(points, np.zeros(0, np.float32), np.zeros(0, bool))
    first, second = _pyramids(previous, current, device)
    ways = np.concatenate([points, expected - points], axis=1).astype(np.float32)
    parts = torch.split(torch.from_numpy(ways).to(device), _AT_ONCE)
    found = [_there_and_back(first, second, part) for part in parts]
    after_x, after_y, back_x, back_y, seen = torch.cat(found).cpu().numpy().T
    after = np.stack([after_x, after_y], axis=-1)
    error = np.hypot(back_x - points[:, 0], back_y - points[:, 1])
    height, width = current.shape
    inside = ((after >= 0) & (after < (width, height))).all(axis=-1)
    return Followed(after, error, (seen > 0) & inside & (error <= LOST_PX))


def _there_and_back(first: "list[Tensor]", second: "list[Tensor]", way: "Tensor") -> "Tensor":
    """(N, 5) of points and their moves (N, 4): where to (x, y), where back to, whether seen."""
    import torch

    start, move = way[:, :2], way[:, 2:]
    after, found = _lucas_kanade(first, second, start, move)
    back, returned = _lucas_kanade(second, first, after, -move)
    return torch.cat([after, back, (found & returned).float()[:, None]], dim=1)


def _lucas_kanade(
    first: "list[Tensor]", second: "list[Tensor]", start: "Tensor", move: "Tensor"
) -> "tuple[Tensor, Tensor]":
    """Where points (N, 2) go, and whether there was texture to follow."""
    across, down = _WINDOW
    around = window(across, down, -(across // 2), -(down // 2), str(start.device))
    move = move / 2 ** len(first)
    for level in reversed(range(len(first))):
        places = (start / 2**level)[:, None] + around
        windows = Windows.of(first[level], places, least=_LEAST)
        move = windows.descend(second[level], 2 * move, _STEPS)
    return start + move, windows.texture >= _LEAST


def _pyramids(
    previous: GrayImage, current: GrayImage, device: str
) -> "tuple[list[Tensor], list[Tensor]]":
    """Both frames with their gradients (1, 3, H, W), a level of the pyramid each."""
    images = _uploaded(previous, current, device)
    levels = [with_gradients(images)]
    across, down = _WINDOW
    while len(levels) <= _LEVELS:
        images = _blurred(images)[..., ::2, ::2]
        if images.shape[-1] <= across or images.shape[-2] <= down:
            break
        levels.append(with_gradients(images))
    return [level[:1] for level in levels], [level[1:] for level in levels]


def _blurred(images: "Tensor") -> "Tensor":
    """Weighted 1, 4, 6, 4, 1 each way, as OpenCV's pyramids are."""
    from torch.nn import functional

    images = functional.pad(images, (2, 2, 2, 2), "reflect")
    for _ in range(4):
        images = functional.avg_pool2d(images, 2, stride=1)
    return images


def _uploaded(first: GrayImage, second: GrayImage, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(np.stack([first, second])[:, None]).to(device).float()


def dense_flow(first: GrayImage, second: GrayImage, device: str) -> FlowField:
    """Where each pixel of `first` goes to, (height, width, 2), on a device of torch.

    As DIS does it (Kroeger et al. 2016): patches descend from the flow of the level above, and
    each pixel takes the mean of its patches, weighted by how well they fit it.
    """
    import torch
    from torch.nn import functional

    height, width = first.shape
    levels = _halved(first, second, device)
    flow = torch.zeros(1, 2, 1, 1, device=device)
    for level in reversed(levels[_FINEST_SCALE:]):
        flow = 2 * functional.interpolate(flow, level.shape[-2:], mode="bilinear")
        flow = _of_patches(level[:1], level[1:], flow)
    whole = levels[0].shape[-2:]
    flow = 2**_FINEST_SCALE * functional.interpolate(flow, whole, mode="bilinear")
    result = flow[0, :, :height, :width].permute(1, 2, 0).contiguous()
    return np.asarray(result.cpu().numpy(), np.float32)


def _halved(first: GrayImage, second: GrayImage, device: str) -> "list[Tensor]":
    """Both frames (2, 1, H, W) at ever half the size, of whole patches at each."""
    from torch.nn import functional

    whole = _STRIDE * 2**_COARSEST
    down, right = (-side % whole for side in first.shape)
    images = functional.pad(_uploaded(first, second, device), (0, right, 0, down), "replicate")
    levels = [images]
    while len(levels) <= _COARSEST and min(images.shape[-2:]) >= 2 * _PATCH:
        images = functional.avg_pool2d(images, 2)
        levels.append(images)
    return levels


def _of_patches(first: "Tensor", second: "Tensor", flow: "Tensor") -> "Tensor":
    """The flow (1, 2, H, W) of a level, from a rough one."""
    from torch.nn import functional

    height, width = first.shape[-2:]
    device = str(flow.device)
    rows, columns = ((side - _PATCH) // _STRIDE + 1 for side in (height, width))
    corners = _STRIDE * window(columns, rows, 0, 0, device)[:, None]
    places = corners + window(_PATCH, _PATCH, 0, 0, device)
    patches = Windows.of(with_gradients(first), places, damping=_DAMPING)
    move = sample(flow, corners + (_PATCH - 1) / 2)[..., 0].T
    for _ in range(_ROUNDS):
        guess = _best_around(patches, second, move, columns)
        move = patches.descend(second, guess, _ITERATIONS // _ROUNDS)
        move = guess.where((move - guess).abs().amax(1, keepdim=True) > _PATCH, move)
    weight = (1 / patches.off(second, move).abs().clamp(min=1)).T[None]
    moves = (move.T[:, None] * weight).reshape(1, -1, len(move))
    summed = functional.fold(moves, (height, width), _PATCH, stride=_STRIDE)
    return summed / functional.fold(weight, (height, width), _PATCH, stride=_STRIDE)


def _best_around(patches: Windows, target: "Tensor", move: "Tensor", columns: int) -> "Tensor":
    """For each patch of a grid the move (P, 2), of its own and its neighbours', that fits best."""
    from torch.nn import functional

    grid = move.T.reshape(1, 2, -1, columns)
    wide = functional.pad(grid, (1, 1, 1, 1), "replicate")
    best, least = move, patches.off(target, move).var(-1)
    for left, top in ((0, 1), (2, 1), (1, 0), (1, 2)):
        other = wide[..., top : top + grid.shape[2], left : left + columns].reshape(2, -1).T
        cost = patches.off(target, other).var(-1)
        better = cost < least
        best, least = other.where(better[:, None], best), cost.where(better, least)
    return best
