"""The audit as one HTML page that needs nothing beside it: figures, then pairs, worst first."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from toolkit.images import RgbImage, encode_jpeg, shrink
from toolkit.mining.audit.hints import hint
from toolkit.pages import data_uri, page_template
from toolkit.patches.shards import StoredPair
from toolkit.workspace import write_bytes

if TYPE_CHECKING:
    from toolkit.mining.audit.report import Audit

_PIXELS = 160
_JPEG_QUALITY = 80
_ROWS = 50  # of the table of videos


def write_page(target: Path, audit: "Audit", pairs: Sequence[StoredPair]) -> None:
    """Write the page with the given pairs in their order. Raises StorageError, ShardError."""
    template = page_template(
        "toolkit.mining.audit", "contact_sheet.html", stem=stem, percent=percent, span=span
    )
    numbers: dict[str, int] = {}
    suspects = dict(audit.false_pairs.suspects)
    cards = [_card(stored, numbers, suspects) for stored in pairs]
    content = template.render(
        audit=audit,
        rate=audit.false_pairs,
        bars=bars(audit.quality),
        reasons=[(name, count, hint(name)) for name, count in audit.rejected.items()],
        videos=audit.by_video[:_ROWS],
        cards=cards,
        choices=[(number, path) for path, number in numbers.items()],
    )
    write_bytes(target, content.encode("utf-8", "backslashreplace"))


def bars(counts: Sequence[int]) -> list[tuple[int, float]]:
    """Each count with the height of its bar, 0 to 100, that of the largest."""
    largest = max(*counts, 1)
    return [(count, round(100 * count / largest, 1)) for count in counts]


def stem(path: str) -> str:
    """The last part of a path without its suffix, which is a video's camera by default."""
    return PurePath(path).stem


def percent(share: float) -> str:
    """A share as a percentage, with a digit more where it is small: 0.0321 -> "3.2 %"."""
    return f"{100 * share:.{_digits(share)}f} %"


def span(shares: Sequence[float]) -> str:
    """The two ends of an interval of shares: (0.0101, 0.12) -> "1 to 12 %"."""
    low, high = shares
    digits = _digits(high)
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"


def _digits(share: float) -> int:
    return 1 if share < 0.1 else 0


def _card(
    stored: StoredPair, numbers: dict[str, int], suspects: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "pair": stored.pair,
        "query": _thumbnail(stored.read_query()),
        "positive": _thumbnail(stored.read_positive()),
        "video": numbers.setdefault(stored.pair.path, len(numbers)),
        "suspect": suspects.get(stored.pair.key),
    }


def _thumbnail(patch: RgbImage) -> str:
    jpeg = encode_jpeg(shrink(patch, _PIXELS), quality=_JPEG_QUALITY)
    return data_uri(jpeg)
