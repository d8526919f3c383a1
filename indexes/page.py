"""The results of a search as one HTML file that needs nothing beside it."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from indexes.search import Hit
from toolkit.images import RgbImage, encode_jpeg, shrink
from toolkit.workspace import write_bytes

QUERY_PIXELS = 320


@dataclass(frozen=True, slots=True)
class Query:
    """What was searched for: its name for people, the patch, and where it was looked up.

    image: the patch that was embedded, uint8 RGB; vectors: the size of the index.
    """

    name: str
    image: RgbImage
    index: str
    vectors: int
    model: str
    milliseconds: float


def write_results_page(
    target: Path, query: Query, hits: Sequence[Hit], thumbnail: Callable[[int], bytes]
) -> None:
    """Write the page; `thumbnail` gives a hit's JPEG by its id (PatchIndex.thumbnail).

    Raises StorageError.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("indexes"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"clock": clock, "file_name": file_name, "box": box_text}
    content = environment.get_template("results.html").render(
        query=query,
        query_picture=_data_uri(encode_jpeg(shrink(query.image, QUERY_PIXELS))),
        cards=[(hit, _data_uri(thumbnail(hit.id))) for hit in hits],
    )
    write_bytes(target, content.encode("utf-8", "backslashreplace"))


def clock(time_s: float) -> str:
    """Seconds as a player shows them: 83.46 -> "1:23.5", 3723.0 -> "1:02:03.0"."""
    tenths = round(time_s * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{start}:{rest // 10:02d}.{rest % 10}"


def file_name(path: str) -> str:
    """The last part of a path."""
    return PurePath(path).name or path


def box_text(box: Sequence[float]) -> str:
    """A box in whole pixels: "12,40,96,180", as `--box` takes it."""
    return ",".join(f"{value:.0f}" for value in box)


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
