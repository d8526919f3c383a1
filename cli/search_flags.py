"""The flags of `vr search`, what may not stand together, and what they ask for."""

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from indexes.records import Filter
    from indexes.search.settings import SearchSettings

_query = partial(typer.Option, rich_help_panel="What to look for")
_only = partial(typer.Option, rich_help_panel="Where to look")
_hits = partial(typer.Option, rich_help_panel="The hits")
_many = partial(typer.Option, rich_help_panel="Thousands of queries")

Examples = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE|VIDEO@SECONDS",
        help="What to look for; several are looked for at once.",
    ),
]
BoxText = Annotated[
    str | None,
    _query("--box", metavar="X0,Y0,X1,Y1", help="Look for this region of it, in pixels."),
]
Ids = Annotated[
    list[int] | None,
    _query("--id", metavar="ID", help="Look for an indexed patch."),
]
Negatives = Annotated[
    list[str] | None,
    _query("--not", metavar="IMAGE|ID", help="Keep away from this picture, moment or patch."),
]
CombineHow = Annotated[
    Literal["mean", "all"],
    _query(
        "--combine",
        help="Several pictures: mean looks for what they have in common, all for each of them; "
        "a hit counts by the one it is nearest to.",
    ),
]
ExcludeOwn = Annotated[
    bool,
    _query(
        "--exclude-own", help="Leave out the patches that show the query itself, and their tracks."
    ),
]
Sources = Annotated[
    list[str] | None,
    _only("--source", metavar="GLOB", help="Only of sources with such a path, or such a name."),
]
Cameras = Annotated[
    list[str] | None,
    _only("--camera", metavar="NAME", help="Only of this camera."),
]
Times = Annotated[
    str | None,
    _only(
        "--time",
        metavar="FROM-TO",
        help="Only of this part of the videos: seconds or a clock, 10-20, 1:00-, -0:30.",
    ),
]
Labels = Annotated[
    list[str] | None,
    _only("--label", metavar="NAME", help="Only of this label."),
]
AllowPartial = Annotated[
    bool,
    _only(
        "--allow-partial",
        help="Search what is whole of a damaged index, and say what was left out.",
    ),
]
Top = Annotated[int, _hits("--top", "-k", min=1, help="How many hits.")]
Group = Annotated[
    Literal["track", "none"],
    _hits("--group", help="track: one hit a track, its best; none: every patch."),
]
MinScore = Annotated[
    float,
    _hits(min=-1, max=1, help="Leave out hits below this cosine."),
]
Html = Annotated[
    Path | None,
    _hits(metavar="FILE", help="Write a page with the pictures to this file."),
]
Open = Annotated[
    bool,
    _hits("--open", help="Open the best hit at its moment."),
]
Rank = Annotated[
    int | None,
    _hits(min=1, help="Open the hit of this rank instead.", show_default="1"),
]
BatchFile = Annotated[
    Path | None,
    _many(
        "--batch",
        metavar="FILE",
        help="A list with IMAGE or VIDEO@SECONDS a line, a .csv (query,x0,y0,x1,y1), or vectors "
        "that `vr embed --out` wrote.",
    ),
]
Out = Annotated[
    Path | None,
    _many(
        metavar="FILE",
        help="Write the answers to this .jsonl or .csv.",
        show_default="a JSON object a query, on the standard output",
    ),
]

_ALONE = ("examples", "box", "ids", "negatives", "exclude_own", "html", "open_it", "rank")


def check_id(patch: int) -> int:
    """The id of a patch. Raises UsageError for a number that is none."""
    if not 1 <= patch < 2**63:
        raise UsageError(f"{patch} is no ID of a patch.", mend="Take one from `vr search`.")
    return patch


def check_flags(context: typer.Context) -> None:
    """Raises UsageError for flags that do not go together."""
    for patch in context.params["ids"] or ():
        check_id(patch)
    given = {name: value for name, value in context.params.items() if value}
    if "batch" in given:
        _refuse_beside_batch(context, given)
        return
    if "out" in given:
        raise UsageError("--out is for --batch.", mend="Give --json, or --html FILE.")
    if "rank" in given and "open_it" not in given:
        raise UsageError("--rank says which hit to open.", mend="Give --open too.")
    if "box" in given and len(given.get("examples", ())) != 1:
        raise UsageError(
            "--box names a region of one picture.",
            mend="Give one picture; for several, a list with boxes: --batch queries.csv.",
        )


def _refuse_beside_batch(context: typer.Context, given: dict[str, object]) -> None:
    beside = [name for name in _ALONE if name in given]
    if not beside:
        return
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    what = "IMAGE" if beside[0] == "examples" else flags[beside[0]]
    raise UsageError(
        f"{what} does not go with --batch.", mend="Put what to look for into the list."
    )


def search_settings(context: typer.Context) -> "SearchSettings":
    """What the flags say about the hits. Raises UsageError."""
    from indexes.search.settings import SearchSettings

    params = context.params
    return SearchSettings(
        group_tracks=params["group"] == "track",
        min_score=params["min_score"],
        only=_filter(context),
    )


def _filter(context: typer.Context) -> "Filter":
    from indexes.records import Filter
    from indexes.sources import printable

    def names(flag: str) -> tuple[str, ...]:
        return tuple(map(printable, context.params[flag] or ()))

    times = context.params["times"]
    return Filter(
        names("sources"),
        names("cameras"),
        None if times is None else parse_times(times),
        names("labels"),
    )


def parse_times(text: str) -> tuple[float, float]:
    """Seconds from and to: "10-20", "1:00-" (to the end), "-30". Raises UsageError."""
    from indexes.search.pictures import seconds

    first, dash, last = text.strip().partition("-")
    mend = "Give --time FROM-TO in seconds or as a clock: 10-20, 1:00-1:30, or 10- to the end."
    try:
        span = seconds(first) if first else -math.inf, seconds(last) if last else math.inf
    except UsageError as error:
        raise UsageError(f"{text!r} is no span of time.", mend=mend) from error
    if not dash or not (first or last) or span[0] > span[1]:
        raise UsageError(f"{text!r} is no span of time.", mend=mend)
    return span


def words(settings: "SearchSettings") -> list[str]:
    """The conditions of a search, for people; empty for none."""
    only = settings.only
    said = [
        f"only {name} {' or '.join(values)}"
        for name, values in (
            ("sources like", only.sources),
            ("camera", only.cameras),
            ("label", only.labels),
        )
        if values
    ]
    if only.times_s is not None:
        first, last = only.times_s
        said.append(
            "only "
            + " ".join(
                [f"from {first:g} s"] * math.isfinite(first)
                + [f"to {last:g} s"] * math.isfinite(last)
            )
        )
    if settings.min_score > -1:
        said.append(f"only scores from {settings.min_score:g}")
    return said
