"""Sheets of patches: which patches, in which places, in which frames."""

import numpy as np
import torch

from toolkit.evaluation.evaluate import HeldOutPatches
from toolkit.training.watch.neighbours import Example, Found
from toolkit.training.watch.sheets import (
    FRAME,
    GROUND,
    MOST_PAIRS,
    RIGHT,
    SIDE,
    WRONG,
    hardest_sheet,
    hardest_triplets,
    neighbour_sheet,
    pair_sheet,
)

CELL = SIDE + 2 * FRAME


def flat(count):
    """Patches of one gray each: patch i has the value 10 + i, [N, 3, 8, 8]."""
    return (10.0 + torch.arange(count)).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def middle(sheet, x, y):
    return sheet[y + CELL // 2, x + CELL // 2].tolist()


def frame(sheet, x, y):
    return tuple(sheet[y, x].tolist())


def test_pairs_lie_side_by_side_four_to_a_row():
    sheet = pair_sheet(flat(10))
    wide, high = 2 * CELL + 2 * FRAME, CELL + 2 * FRAME
    assert sheet.shape == (2 * high, 4 * wide, 3)
    for pair in range(5):
        x, y = pair % 4 * wide, pair // 4 * high
        assert middle(sheet, x, y) == [10 + 2 * pair] * 3
        assert middle(sheet, x + CELL, y) == [11 + 2 * pair] * 3
    assert middle(sheet, wide, high) == list(GROUND)  # an empty place


def test_a_large_batch_makes_no_larger_a_sheet():
    assert pair_sheet(flat(1000)).shape == pair_sheet(flat(2 * MOST_PAIRS)).shape


def test_values_beyond_a_byte_are_clamped():
    bright = pair_sheet(torch.full((2, 3, 4, 4), 300.0))
    dark = pair_sheet(torch.full((2, 3, 4, 4), -9.0))
    assert middle(bright, 0, 0) == [255] * 3
    assert middle(dark, 0, 0) == [0] * 3


def test_triplets_are_those_of_a_loop_the_hardest_first():
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(24, 5, generator=generator))
    labels = torch.arange(6).repeat_interleave(4)  # two pairs a track
    negatives = labels[0::2, None] != labels[None]
    negatives &= torch.rand(negatives.shape, generator=generator) < 0.7  # the rest is unknown
    wanted = []
    for anchor in range(0, 24, 2):
        others = [j for j in range(24) if negatives[anchor // 2, j]]
        nearest = max(others, key=lambda j: float(rows[anchor] @ rows[j]))
        excess = float(rows[anchor] @ rows[nearest] - rows[anchor] @ rows[anchor + 1])
        wanted.append((excess, (anchor, anchor + 1, nearest)))
    wanted.sort(key=lambda one: -one[0])
    assert hardest_triplets(rows, negatives) == [triplet for _, triplet in wanted]


def test_a_batch_of_one_track_has_no_negatives():
    none = torch.zeros(2, 4, dtype=torch.bool)
    assert hardest_triplets(torch.eye(4), none) == []
    assert hardest_sheet(flat(4), torch.eye(4), none) is None


def test_the_hardest_stand_in_a_red_frame():
    rows = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0.6, 0.8]])
    negatives = torch.tensor([[False, False, True, True], [True, True, False, False]])
    sheet = hardest_sheet(flat(4), rows, negatives)
    # Pair 0: its negative is row 3, 0.4 further than its positive. Pair 1: rows 0 and 1 are at
    # 0, its positive at 0.8. So pair 0 is the harder.
    assert [middle(sheet, place * CELL, 0)[0] for place in range(3)] == [10, 11, 13]
    assert [frame(sheet, place * CELL, 0) for place in range(3)] == [GROUND, GROUND, WRONG]


def test_neighbours_are_framed_by_whether_they_are_right():
    grays = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(3, 3)
    held_out = HeldOutPatches(20 + grays, 40 + grays, gallery=None, records=())
    hits = (Found(6, 0.9, True), Found(1, 0.8, False))
    example = Example("best", 2, 1, Found(6, 0.9, True), hits)
    sheet = neighbour_sheet(held_out, [example])
    assert [middle(sheet, place * CELL, 0)[0] for place in range(3)] == [22, 42, 21]
    assert [frame(sheet, place * CELL, 0) for place in range(3)] == [GROUND, RIGHT, WRONG]
