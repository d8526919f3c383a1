"""The audit as one HTML page that needs nothing beside it: figures, then pairs, worst first."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from toolkit.images import RgbImage, encode_jpeg, shrink
from toolkit.mining.audit.hints import hint
from toolkit.patches.shards import StoredPair
from toolkit.workspace import write_bytes

if TYPE_CHECKING:
    from toolkit.mining.audit.report import Audit

_PIXELS = 160
_JPEG_QUALITY = 80
_ROWS = 50  # of the table of videos


def write_page(target: Path, audit: "Audit", pairs: Sequence[StoredPair]) -> None:
    """Write the page with the given pairs in their order. Raises StorageError, ShardError."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("toolkit.mining.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "file_name": file_name, "stem": stem}
    environment.filters |= {"percent": percent, "span": span}
    numbers: dict[str, int] = {}
    suspects = dict(audit.false_pairs.suspects)
    cards = [_card(stored, numbers, suspects) for stored in pairs]
    content = environment.get_template("contact_sheet.html").render(
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
        "query": _data_uri(stored.read_query()),
        "positive": _data_uri(stored.read_positive()),
        "video": numbers.setdefault(stored.pair.path, len(numbers)),
        "suspect": suspects.get(stored.pair.key),
    }


def _data_uri(patch: RgbImage) -> str:
    jpeg = encode_jpeg(shrink(patch, _PIXELS), quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
