"""Sheets of patches for TensorBoard: uint8 RGB pictures of a bounded size."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from toolkit.evaluation.evaluate import HeldOutPatches
from toolkit.images import RgbImage, resize
from toolkit.training.watch.neighbours import Example

SIDE = 64  # pixels of a patch on a sheet
FRAME = 2
MOST_PAIRS = 32
MOST_TRIPLETS = 16
GROUND = (24, 26, 30)
RIGHT, WRONG = (42, 157, 92), (200, 60, 50)


def pair_sheet(pixels: Tensor) -> RgbImage:
    """The first pairs of a batch as the network sees them: float [2P, 3, H, W] of 0..255."""
    count = min(MOST_PAIRS, len(pixels) // 2)
    patches = _patches(pixels[: 2 * count])
    return sheet([[_cell(patches[2 * i]), _cell(patches[2 * i + 1])] for i in range(count)], 4)


def hardest_sheet(pixels: Tensor, embeddings: Tensor, negatives: Tensor) -> RgbImage | None:
    """Anchor, positive and nearest negative of a batch, the hardest first; None without any.

    pixels: float [2P, 3, H, W] of 0..255; embeddings: (2P, D); negatives: boolean (P, 2P), the
    rows that may be negatives of each pair.
    """
    triplets = hardest_triplets(embeddings.float().cpu(), negatives.cpu())[:MOST_TRIPLETS]
    if not triplets:
        return None
    rows = torch.tensor(triplets).flatten()
    patches = _patches(pixels[rows.to(pixels.device)])
    framed = [
        [_cell(patches[i]), _cell(patches[i + 1]), _cell(patches[i + 2], WRONG)]
        for i in range(0, len(patches), 3)
    ]
    return sheet(framed, 4)


def hardest_triplets(embeddings: Tensor, negatives: Tensor) -> list[tuple[int, int, int]]:
    """Rows of anchor, positive and the nearest row that may be its negative; hardest first.

    The hardest is the one whose negative is nearest when compared with its positive.
    """
    similarity = embeddings[0::2] @ embeddings.T
    nearest, row = similarity.masked_fill(~negatives, -torch.inf).max(1)
    excess = nearest - (embeddings[0::2] * embeddings[1::2]).sum(1)
    order = excess.argsort(descending=True, stable=True).tolist()
    there = nearest.isfinite()
    return [(2 * i, 2 * i + 1, int(row[i])) for i in order if there[i]]


def neighbour_sheet(held_out: HeldOutPatches, examples: Sequence[Example]) -> RgbImage:
    """A row a query: the query, then its nearest, framed green where right and red where not."""
    rows = []
    for example in examples:
        hits = [_cell(patch_of(held_out, f.row), RIGHT if f.right else WRONG) for f in example.hits]
        rows.append([_cell(patch_of(held_out, example.query)), *hits])
    return sheet(rows, 1)


def patch_of(held_out: HeldOutPatches, row: int) -> RgbImage:
    """The patch of a row among the queries, then the positives."""
    count = len(held_out.queries)
    patches = held_out.queries if row < count else held_out.positives
    patch: RgbImage = patches[row % count]
    return patch


def sheet(groups: Sequence[Sequence[RgbImage]], columns: int) -> RgbImage:
    """Groups of cells side by side, `columns` groups a row, a gap between the groups."""
    side = SIDE + 2 * FRAME
    longest = max(len(group) for group in groups)
    across = min(columns, len(groups))
    wide, high = longest * side + 2 * FRAME, side + 2 * FRAME
    rows = -(-len(groups) // across)
    picture = np.full((rows * high, across * wide, 3), GROUND, np.uint8)
    for number, group in enumerate(groups):
        row, column = divmod(number, across)
        for place, cell in enumerate(group):
            x, y = column * wide + place * side, row * high
            picture[y : y + side, x : x + side] = cell
    return picture


def _patches(pixels: Tensor) -> list[RgbImage]:
    whole = pixels.detach().round().clamp(0, 255).to(torch.uint8)
    return list(whole.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _cell(patch: RgbImage, frame: tuple[int, int, int] = GROUND) -> RgbImage:
    cell = np.full((SIDE + 2 * FRAME, SIDE + 2 * FRAME, 3), frame, np.uint8)
    cell[FRAME:-FRAME, FRAME:-FRAME] = resize(patch, SIDE, SIDE)
    return cell
