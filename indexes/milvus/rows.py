"""A new patch as Milvus takes it, and a place as it gives it back."""

import base64
from dataclasses import dataclass
from typing import Any

from indexes.milvus.client import Row
from indexes.milvus.expressions import NO_TIME
from indexes.milvus.keys import thing_of
from indexes.milvus.layout import NOTHING, TEXT_BYTES
from indexes.records import Place
from indexes.stores import NewRow
from toolkit.errors import InputError

_LONGEST_JPEG = TEXT_BYTES * 3 // 4
_LONGEST_NAME = 20_000


@dataclass(frozen=True, slots=True)
class Numbered:
    """A new patch with the numbers that the index gives it."""

    id: int
    source: int
    row: NewRow

    @property
    def thing(self) -> int:
        """The track's number, or minus the id."""
        return thing_of(self.row.patch.track, self.id)

    def as_patch(self) -> Row:
        """The row of the patches."""
        patch = self.row.patch
        return {
            "id": self.id,
            "vector": self.row.vector,
            "thing": self.thing,
            "input": self.row.input,
            "source": self.source,
            "time_s": NO_TIME if patch.time_s is None else patch.time_s,
            **dict(zip(("x0", "y0", "x1", "y1"), map(float, patch.box), strict=True)),
            "track": "" if patch.track is None else patch.track,
        }

    def as_thumbnail(self) -> Row | None:
        """The row of the thumbnails; None without a picture. Raises ValueError for a huge one."""
        jpeg = self.row.thumbnail
        if jpeg is None:
            return None
        if len(jpeg) > _LONGEST_JPEG:
            raise ValueError(f"a thumbnail of {len(jpeg)} bytes is none")
        return {
            "id": self.id,
            "input": self.row.input,
            "source": self.source,
            "jpeg": base64.b64encode(jpeg).decode("ascii"),
            "nothing": NOTHING,
        }


def check_texts(row: NewRow) -> None:
    """Raises InputError for a name that is longer than Milvus takes, with room for JSON."""
    origin = row.patch.origin
    for what, text in (
        ("path", origin.path),
        ("camera", origin.camera),
        ("track", row.patch.track),
        ("label", row.patch.label),
    ):
        if text is not None and len(text.encode("utf-8", "backslashreplace")) > _LONGEST_NAME:
            raise InputError(
                f"A {what} is longer than {_LONGEST_NAME} bytes, and Milvus does not hold it: "
                f"{text[:60]}..."
            )


def jpeg_of(row: Row) -> bytes:
    """The picture of a row of the thumbnails."""
    return base64.b64decode(row["jpeg"], validate=True)


def time_of(row: Row) -> float | None:
    """PTS seconds; None for an image."""
    time_s = float(row["time_s"])
    return None if time_s == NO_TIME else time_s


def place_of(row: Row, source: dict[str, Any], label: str | None) -> Place:
    """A place from the row of its patch and what is known of its source."""
    return Place(
        id=int(row["id"]),
        source=str(source["path"]),
        source_id=int(row["source"]),
        time_s=time_of(row),
        box=(float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"])),
        track=str(row["track"]) if int(row["thing"]) > 0 else None,
        label=label,
        camera=source["camera"],
        sha256=source["sha256"],
    )
