"""The results of a search as one HTML file that needs nothing beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexes.search.hits import Hit
from indexes.search.strips import Picture, Strip, StripReader
from indexes.stores import PatchStore
from toolkit.images import RgbImage, encode_jpeg, shrink
from toolkit.pages import data_uri, page_template
from toolkit.workspace import write_bytes

QUERY_PIXELS = 320
STRIPS = 24  # of the first hits; each takes a moment to read and some room on the page

OnProgress = Callable[[int, int], None]  # hits done, of how many


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the query: its name for people, and a JPEG; None where there is none."""

    name: str
    jpeg: bytes | None

    @classmethod
    def of(cls, name: str, image: RgbImage) -> "Shown":
        """A picture that was embedded, uint8 RGB."""
        return cls(name, encode_jpeg(shrink(image, QUERY_PIXELS)))


@dataclass(frozen=True, slots=True)
class Query:
    """What was searched for, and where it was looked up.

    wanted, unwanted: its pictures; vectors: the size of the index; model: the fingerprint;
    left_out: damaged parts; conditions: filters and the like, for people; empty: why there
    are no hits.
    """

    wanted: Sequence[Shown]
    index: str
    vectors: int
    model: str
    milliseconds: float
    unwanted: Sequence[Shown] = ()
    conditions: Sequence[str] = ()
    left_out: Sequence[str] = ()
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A hit as the page shows it."""

    hit: Hit
    jpeg: bytes | None
    strip: Strip


def make_cards(
    store: PatchStore, hits: Sequence[Hit], on_progress: OnProgress = lambda *_: None
) -> list[Card]:
    """The hits with their small pictures, and the first of them with what is around them."""
    kept = store.thumbnails([hit.id for hit in hits])
    reader = StripReader(store)
    cards: list[Card] = []
    for done, hit in enumerate(hits):
        on_progress(done, min(len(hits), STRIPS))
        strip = reader.strip_of(hit.place) if done < STRIPS else Strip()
        cards.append(Card(hit, kept.get(hit.id), strip))
    return cards


def write_results_page(target: Path, query: Query, cards: Sequence[Card]) -> None:
    """Write the page. Raises StorageError."""
    template = page_template("indexes", "results.html", box=box_text, uri=_uri)
    content = template.render(query=query, cards=cards)
    write_bytes(target, content.encode("utf-8", "backslashreplace"))


def _uri(picture: Picture | Shown | Card) -> str:
    return data_uri(picture.jpeg or b"")


def box_text(box: Sequence[float]) -> str:
    """A box in whole pixels: "12,40,96,180", as `--box` takes it."""
    return ",".join(f"{value:.0f}" for value in box)
