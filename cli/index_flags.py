"""The flags of `vr index` that say how sources become patches."""

import re
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from indexes.sources import Reading

SOURCES = "Images, videos, pair shards, folders of them, or tables of vectors (.npy, .parquet)."

_pictures = partial(typer.Option, rich_help_panel="Pictures, and sampled frames of videos")
_videos = partial(typer.Option, rich_help_panel="Videos")

Grid = Annotated[
    str | None,
    _pictures(
        metavar="ROWSxCOLS",
        help="Cut each into a grid: 3x3, or several as 1x1,2x2,4x4.",
        show_default="the whole picture",
    ),
]
Windows = Annotated[
    str | None,
    _pictures(
        metavar="PIXELS", help="Cut square windows of this side from each, or of several: 128,256."
    ),
]
Overlap = Annotated[
    float | None,
    _pictures(
        metavar="SHARE",
        help="How much of its side a window shares with the next, 0 to 0.95.",
        show_default="0.5",
    ),
]
Dense = Annotated[
    bool,
    _pictures(
        "--dense",
        help="Every window of each, by the dense graph of the bundle; an index of such windows "
        "holds nothing else.",
    ),
]
Every = Annotated[
    float | None,
    _videos(
        metavar="SECONDS",
        help="Take a frame so often, whole or cut as above.",
        show_default="the moving regions",
    ),
]
Camera = Annotated[
    str | None,
    _videos(
        help="Name of the one camera that filmed all of these.",
        show_default="each video is a camera of its own",
    ),
]
CameraPattern = Annotated[
    str | None,
    _videos(
        help="Where the camera's name stands in the path of each video and picture, such as "
        "'footage/{camera}/*'."
    ),
]


def reading_of(
    cuts: tuple[str | None, str | None, float | None],
    dense: bool,
    every_s: float | None,
    cameras: tuple[str | None, str | None],
) -> "Reading":
    """The settings that the flags add up to.

    cuts: --grid, --windows and --overlap; cameras: --camera and --camera-pattern. Raises
    UsageError.
    """
    from indexes.sources import Cut, Reading
    from toolkit.mining.cameras import CameraRule

    grid, windows, overlap = cuts
    if overlap is not None and (windows is None or dense):
        raise UsageError(
            "--overlap goes with --windows, and not with --dense.",
            mend="Give --windows PIXELS with it, or leave it out.",
        )
    cut = Cut(
        grids=() if grid is None else _parse_grids(grid),
        windows=() if windows is None else _parse_sides(windows),
        **({} if overlap is None else {"overlap": overlap}),
    )
    return Reading(cut=cut, dense=dense, every_s=every_s, cameras=CameraRule(*cameras))


def _parse_grids(text: str) -> tuple[tuple[int, int], ...]:
    found = [re.fullmatch(r"\s*(\d{1,4})[xX](\d{1,4})\s*", part) for part in text.split(",")]
    if not all(found):
        raise UsageError(
            f"{text!r} is no grid.", mend="Give --grid ROWSxCOLS, such as 3x3 or 1x1,2x2."
        )
    return tuple((int(match[1]), int(match[2])) for match in found if match)


def _parse_sides(text: str) -> tuple[int, ...]:
    found = [re.fullmatch(r"\s*(\d{1,6})\s*", part) for part in text.split(",")]
    if not all(found):
        raise UsageError(
            f"{text!r} are no sides of windows.",
            mend="Give --windows PIXELS, such as 128 or 128,256.",
        )
    return tuple(int(match[1]) for match in found if match)
