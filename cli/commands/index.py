"""`vr index`: patch features to a searchable index."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    DEFAULT_EXPORTED,
    DEFAULT_INDEX,
    DEFAULT_PATCHES,
    Device,
    IndexFolder,
    Json,
    Model,
    Overwrite,
    Runtime,
    Threads,
)
from cli.output import (
    Bar,
    count,
    emit,
    plain,
    progress_bar,
    say,
    show_line,
    show_table,
    visible,
    warn_set_aside,
)

if TYPE_CHECKING:
    from indexes.info import IndexInfo
    from indexes.patch_index import BuildProgress, BuildReport
    from toolkit.embedding import Embedder

app = typer.Typer(no_args_is_help=True, help="Build and look after an index of patch features.")


@app.command("build")
def build(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Images, videos (their moving regions), pair shards, or folders of them.",
            show_default="what was mined",
        ),
    ] = None,
    index: IndexFolder = DEFAULT_INDEX,
    model: Model = DEFAULT_EXPORTED,
    overwrite: Overwrite = False,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Embed pictures and make them searchable; again, and only what is new is added."""
    from deploy.runtimes import open_embedder
    from indexes.info import info

    embedder = open_embedder(model, runtime, device, threads)
    try:
        say(f"embedding with {plain(model)} on {embedder.runtime}")
        report = build_with_bar(index, sources or [DEFAULT_PATCHES], embedder, overwrite=overwrite)
    finally:
        embedder.close()
    tell(report)
    if as_json:
        emit(as_contract(info(index), report))
    else:
        show_line(str(index))
    return 3 if report.quarantined else 0


@app.command("info")
def show_info(index: IndexFolder = DEFAULT_INDEX, as_json: Json = False) -> int:
    """Say what an index holds, and measure how well it finds."""
    from rich.table import Table
    from rich.text import Text

    from indexes.info import info

    content = info(index).as_json()
    if as_json:
        emit(content)
        return 0
    table = Table(show_header=False)
    for key, value in content.items():
        table.add_row(key, Text(visible(value)))
    show_table(table)
    return 0


def build_with_bar(
    index: Path, sources: list[Path], embedder: "Embedder", *, overwrite: bool = False
) -> "BuildReport":
    """Build with a progress bar over the sources."""
    from indexes.patch_index import BuildSettings
    from indexes.patch_index import build as build_index

    with progress_bar("indexing", None, count=True) as bar:
        return build_index(
            index,
            sources,
            embedder,
            BuildSettings(overwrite=overwrite),
            on_progress=lambda at: _show(bar, at),
        )


def _show(bar: Bar, at: "BuildProgress") -> None:
    bar.at(at.done, at.total, f"{at.vectors} vectors  {plain(at.source)}")


def tell(report: "BuildReport") -> None:
    """What a build did, for people."""
    for item in report.quarantined:
        warn_set_aside(item.path, item.reason)
    if report.skipped:
        say(f"{count(report.skipped, 'source')} indexed before, and kept")
    say(
        f"[bold]{count(report.vectors, 'vector')}[/] from {count(report.added, 'source')} "
        f"in {report.seconds:.1f} s: {plain(report.index)}"
    )


def as_contract(info: "IndexInfo", report: "BuildReport") -> dict[str, Any]:
    """The `index` contract of docs/formats.md."""
    return {
        **info.as_json(),
        "added": report.added,
        "skipped": report.skipped,
        "new_vectors": report.vectors,
        "quarantined": [{"source": q.path, "reason": q.reason} for q in report.quarantined],
        "seconds": round(report.seconds, 3),
    }
