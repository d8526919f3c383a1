"""A sum over each patch and its thumbnail: SQLite keeps none, and damage would go unseen.

It tells what a disk did, not what a person did: who can write the catalog can write the sum.
"""

import math
import struct
import zlib
from collections.abc import Sequence

# Beside the tables of `schema`, and apart from them: an index that was begun without it gets
# it with the next write, and a reader that does not know it needs nothing of it.
SUMS = """
CREATE TABLE IF NOT EXISTS sums (
    patch INTEGER PRIMARY KEY REFERENCES patches ON DELETE CASCADE,
    sum INTEGER NOT NULL
)
"""
PUT_SUM = "INSERT INTO sums (patch, sum) VALUES "
# What the sum of a row is over, its thumbnail and the sum itself.
SUMMED = """
SELECT id, input, source, track, time_s, x0, y0, x1, y1, CAST(jpeg AS BLOB), {sum}
FROM patches LEFT JOIN thumbnails ON thumbnails.patch = patches.id {sums}
ORDER BY id
"""
WITH_SUMS = SUMMED.format(sum="sum", sums="LEFT JOIN sums ON sums.patch = patches.id")
WITHOUT_SUMS = SUMMED.format(sum="NULL", sums="")
HAS_SUMS = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'sums'"

_pack = struct.Struct("<4q5d").pack


def row_sum(row: Sequence[object], thumbnail: bytes | None) -> int:
    """The CRC-32 of a row of `patches`, in the order of its columns, and of the picture.

    Raises TypeError or struct.error for values that such a row cannot have.
    """
    key, number, source, track, time_s, *box = row
    packed = _pack(
        key, number, source, -1 if track is None else track,
        math.nan if time_s is None else time_s, *box,
    )  # fmt: skip
    return zlib.crc32(thumbnail or b"", zlib.crc32(packed))
