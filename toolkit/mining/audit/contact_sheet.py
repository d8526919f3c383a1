"""A picture of what was mined, so that a person can judge it in a minute."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from toolkit.errors import InputError
from toolkit.images import RgbImage, resize
from toolkit.patches.shards import StoredPair
from toolkit.workspace import atomic_file

_SIDE = 128
_GAP = 8
_TEXT = 30
_CELL_W = 2 * _SIDE + 2 + _GAP
_CELL_H = _SIDE + _TEXT + _GAP
_BACKGROUND = (24, 26, 30)
_INK = (214, 218, 224)


def write_contact_sheet(
    pairs: Sequence[StoredPair], target: Path, *, limit: int = 60, columns: int = 6
) -> None:
    """Write a PNG of query and positive side by side, the least trusted pairs first.

    `limit` pairs are taken evenly over the ranks of quality, so that the worst and the
    best are there and all between. Under each stand its video, times and score.
    Raises InputError for no pairs, ShardError, ImageError, StorageError.
    """
    if not pairs:
        raise InputError("There are no pairs to show.")
    chosen = choose(pairs, limit)
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    size = (columns * _CELL_W + _GAP, rows * _CELL_H + _GAP)
    sheet = Image.new("RGB", size, _BACKGROUND)
    for index, stored in enumerate(chosen):
        row, column = divmod(index, columns)
        _draw(sheet, stored, _GAP + column * _CELL_W, _GAP + row * _CELL_H)
    with atomic_file(target) as draft:
        sheet.save(draft, "PNG")


def choose(pairs: Sequence[StoredPair], limit: int) -> list[StoredPair]:
    """At most `limit` pairs, evenly over the ranks of quality, from worst to best."""
    ranked = sorted(pairs, key=lambda stored: (stored.pair.quality.score, stored.pair.key))
    if len(ranked) <= limit:
        return ranked
    return [ranked[round(rank)] for rank in np.linspace(0, len(ranked) - 1, limit)]


def _draw(sheet: Image.Image, stored: StoredPair, x: int, y: int) -> None:
    sheet.paste(_fit(stored.read_query()), (x, y))
    sheet.paste(_fit(stored.read_positive()), (x + _SIDE + 2, y))
    pair = stored.pair
    name = textwrap.shorten(Path(pair.path).name, 34, placeholder="...")
    times = f"{pair.query.time_s:.1f} s to {pair.positive.time_s:.1f} s"
    ink = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    score = f"{times}   quality {pair.quality.score:.2f}"
    ink.text((x, y + _SIDE + 2), name, fill=_INK, font=font)
    ink.text((x, y + _SIDE + 15), score, fill=_INK, font=font)


def _fit(patch: RgbImage) -> Image.Image:
    """The patch at the size of a cell, its aspect kept, on the sheet's ground."""
    height, width = patch.shape[:2]
    factor = _SIDE / max(height, width)
    fitted = resize(patch, max(1, round(height * factor)), max(1, round(width * factor)))
    cell = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    place = (_SIDE - fitted.shape[1]) // 2, (_SIDE - fitted.shape[0]) // 2
    cell.paste(Image.fromarray(fitted), place)
    return cell
