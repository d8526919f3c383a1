"""Labelled patches, one after the other, in the order of their sources and times."""

from collections.abc import Generator
from dataclasses import dataclass

from indexes.catalog.place_check import check_place
from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import FILE_NAME
from indexes.labels.records import GIVEN
from indexes.labels.table import COUNTING
from indexes.records import PixelBox


@dataclass(frozen=True, slots=True)
class LabelledPatch:
    """A patch of a thing that has a label.

    source_id, source: of the image or video, and kind which of them it is; time_s: PTS
    seconds, None in an image; box: xyxy pixels; confidence: 0 to 1, of what was spread.
    """

    id: int
    source_id: int
    source: str
    kind: str
    time_s: float | None
    box: PixelBox
    track: str | None
    label: str
    origin: str
    confidence: float

    @property
    def picture(self) -> tuple[int, float | None]:
        """What two patches of one picture have in common."""
        return self.source_id, self.time_s


_ROWS = f"""
WITH counting AS ({COUNTING})
SELECT patches.id, sources.id, sources.path, sources.kind, time_s, x0, y0, x1, y1, tracks.name,
       counting.label, counting.origin, counting.confidence
FROM patches
JOIN counting ON counting.thing = coalesce(patches.track, -patches.id)
JOIN sources ON sources.id = patches.source
LEFT JOIN tracks ON tracks.id = patches.track
WHERE ? OR counting.origin = '{GIVEN}'
ORDER BY sources.id, time_s, patches.id
"""


def labelled_patches(
    catalog: CatalogReader, *, given_only: bool
) -> Generator[LabelledPatch, None, None]:
    """Every labelled patch; with `given_only` those that people labelled.

    Close it before the catalog.
    """
    for row in catalog.rows(_ROWS, (not given_only,)):
        key, source_id, source, kind, time_s, x0, y0, x1, y1, *rest = row
        check_place(catalog.index / FILE_NAME, key, source, time_s, (x0, y0, x1, y1))
        yield LabelledPatch(key, source_id, source, kind, time_s, (x0, y0, x1, y1), *rest)


def class_names(catalog: CatalogReader, *, given_only: bool) -> list[str]:
    """The labels that the patches have, sorted."""
    query = f"SELECT DISTINCT label FROM ({COUNTING}) WHERE ? OR origin = '{GIVEN}' ORDER BY label"
    return [label for (label,) in catalog.rows(query, (not given_only,))]
