"""The results of a search as one HTML file that needs nothing beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexes.search import Hit
from toolkit.images import RgbImage, encode_jpeg, shrink
from toolkit.pages import data_uri, page_template
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
    template = page_template("indexes", "results.html", box=box_text)
    content = template.render(
        query=query,
        query_picture=data_uri(encode_jpeg(shrink(query.image, QUERY_PIXELS))),
        cards=[(hit, data_uri(thumbnail(hit.id))) for hit in hits],
    )
    write_bytes(target, content.encode("utf-8", "backslashreplace"))


def box_text(box: Sequence[float]) -> str:
    """A box in whole pixels: "12,40,96,180", as `--box` takes it."""
    return ",".join(f"{value:.0f}" for value in box)
