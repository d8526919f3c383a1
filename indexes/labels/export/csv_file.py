"""Labels as CSV: a line a patch, in the columns that `vr label import` reads again."""

import csv
import io
from collections.abc import Iterable
from typing import BinaryIO

from indexes.labels.csv_lines import BOX, is_formula
from indexes.labels.export.rows import LabelledPatch

COLUMNS = ("id", "source", "time_s", *BOX, "track", "label", "origin", "confidence")


def write_csv(patches: Iterable[LabelledPatch], stream: BinaryIO) -> tuple[int, int]:
    """Write UTF-8 with a line feed a record.

    The number of patches, and of those with a text that is a formula to a spreadsheet.
    """
    text = io.TextIOWrapper(stream, "utf-8", "backslashreplace", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = formulas = 0
    for patch in patches:
        box = [f"{side:g}" for side in patch.box]
        confidence = f"{patch.confidence:.4f}"
        place = (patch.id, patch.source, "" if patch.time_s is None else patch.time_s)
        writer.writerow((*place, *box, patch.track or "", patch.label, patch.origin, confidence))
        count += 1
        formulas += any(map(is_formula, (patch.source, patch.track or "", patch.label)))
    text.detach()
    return count, formulas
