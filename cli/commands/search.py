"""`vr search`: an image, or a box in it, to the places that show the same."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    DEFAULT_EXPORTED,
    DEFAULT_INDEX,
    Device,
    IndexFolder,
    Json,
    Model,
    Runtime,
    Threads,
)
from cli.output import emit, plain, say, show_table, visible, warn
from cli.query import read_query

if TYPE_CHECKING:
    from indexes.search import Hit


def search(
    image: Annotated[Path, typer.Argument(help="The image to look for.")],
    box: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Look for this region of it, in pixels."),
    ] = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many hits.")] = 10,
    group: Annotated[
        bool, typer.Option("--group/--no-group", help="One hit a track, its best.")
    ] = True,
    min_score: Annotated[
        float, typer.Option(min=-1, max=1, help="Leave out hits below this cosine.")
    ] = -1.0,
    index: IndexFolder = DEFAULT_INDEX,
    model: Model = DEFAULT_EXPORTED,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the pictures to this file.")
    ] = None,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Find the patches that look most like an image: which video, when, where in the frame."""
    from deploy.runtimes import open_embedder
    from indexes.page import Query, write_results_page
    from indexes.search import open_index
    from toolkit.embedding import embed_images

    picture = read_query(image, box)
    begun = time.perf_counter()
    embedder = open_embedder(model, runtime, device, threads, quick=True)
    try:
        with open_index(index) as opened:
            opened.check_model(embedder.card)
            vector = embed_images(embedder, [picture])[0]
            hits = opened.search(vector, top, group_tracks=group, min_score=min_score)
            milliseconds = 1000 * (time.perf_counter() - begun)
            if html:
                query = Query(
                    str(image), picture, str(index), len(opened), str(model), milliseconds
                )
                write_results_page(html, query, hits, opened.thumbnail)
                say(f"look at them: {plain(html)}")
    finally:
        embedder.close()
    if as_json:
        emit(as_contract(image, index, hits, milliseconds))
    else:
        _show(image, hits)
        say(f"{milliseconds:.0f} ms on {embedder.runtime}")
    return 0


def _show(image: Path, hits: "list[Hit]") -> None:
    from rich.table import Table
    from rich.text import Text

    from indexes.page import box_text
    from toolkit.pages import clock

    if not hits:
        warn("nothing was found")
        return
    table = Table(title=f"like {plain(image)}")
    for name in ("", "score", "source", "time", "box", "track"):
        table.add_column(name, overflow="fold")  # on a narrow screen nothing is cut off
    for hit in hits:
        moment = "" if hit.time_s is None else clock(hit.time_s)
        cells = (hit.source, moment, box_text(hit.box), hit.track or "")
        table.add_row(str(hit.rank), f"{hit.score:.3f}", *(Text(visible(cell)) for cell in cells))
    show_table(table)


def as_contract(image: Path, index: Path, hits: "list[Hit]", milliseconds: float) -> dict[str, Any]:
    """The `search` contract of docs/formats.md."""
    return {
        "query": str(image),
        "index": str(index),
        "hits": [hit.as_json() for hit in hits],
        "milliseconds": round(milliseconds, 1),
    }
