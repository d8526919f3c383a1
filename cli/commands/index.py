"""`vr index`: patch features to a searchable index."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.index_budget import (
    IndexKey,
    Latency,
    Memory,
    Recall,
    Wait,
    recall_note,
    say_plan,
    say_waiting,
    wish_of,
)
from cli.index_flags import (
    SOURCES,
    Camera,
    CameraPattern,
    Dense,
    Every,
    Grid,
    Overlap,
    Windows,
    reading_of,
)
from cli.options import (
    DEFAULT_EXPORTED,
    DEFAULT_INDEX,
    DEFAULT_PATCHES,
    Device,
    DryRun,
    IndexFolder,
    Json,
    Model,
    Overwrite,
    Runtime,
    Store,
    Threads,
    faiss_device,
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
    warn,
    warn_set_aside,
)

if TYPE_CHECKING:
    from indexes.build.settings import BuildProgress, BuildReport, BuildSettings
    from indexes.info import IndexInfo
    from indexes.open import Target
    from toolkit.embedding import Embedder

app = typer.Typer(no_args_is_help=True, help="Build and look after an index of patch features.")


@app.command("build")
def build(
    sources: Annotated[
        list[Path] | None, typer.Argument(help=SOURCES, show_default="what was mined")
    ] = None,
    index: IndexFolder = DEFAULT_INDEX,
    store: Store = None,
    model: Model = DEFAULT_EXPORTED,
    overwrite: Overwrite = False,
    grid: Grid = None,
    windows: Windows = None,
    overlap: Overlap = None,
    dense: Dense = False,
    every: Every = None,
    camera: Camera = None,
    camera_pattern: CameraPattern = None,
    memory: Memory = None,
    latency: Latency = None,
    recall: Recall = None,
    index_key: IndexKey = None,
    dry_run: DryRun = False,
    wait: Wait = 0.0,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Embed pictures and make them searchable; again, and only what is new is added."""
    from deploy.runtimes import open_embedder
    from deploy.runtimes.windows import open_windows
    from indexes.build.settings import BuildSettings
    from indexes.open import target_of

    target = target_of(index, store)
    reading = reading_of((grid, windows, overlap), dense, every, (camera, camera_pattern))
    wish = wish_of(memory, latency, recall, index_key)
    settings = BuildSettings(
        overwrite=overwrite, reading=reading, wish=wish, wait_s=wait, device=faiss_device(device)
    )
    opened = (open_windows if dense else open_embedder)(model, runtime, device, threads)
    paths = sources or [DEFAULT_PATCHES]
    if dry_run:
        return _plan(target, paths, opened, settings, as_json=as_json)
    say(f"embedding with {plain(model)} on {opened.runtime}")
    return _fill(target, paths, opened, settings, as_json=as_json)


@app.command("add")
def add(
    sources: Annotated[list[Path], typer.Argument(help=SOURCES)],
    index: IndexFolder = DEFAULT_INDEX,
    store: Store = None,
    model: Model = DEFAULT_EXPORTED,
    grid: Grid = None,
    windows: Windows = None,
    overlap: Overlap = None,
    every: Every = None,
    camera: Camera = None,
    camera_pattern: CameraPattern = None,
    dry_run: DryRun = False,
    wait: Wait = 0.0,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Add to an index that is there, as it was begun: of patches, or of dense windows."""
    from deploy.runtimes.windows import are_windows, open_matching
    from indexes.build.settings import BuildSettings
    from indexes.open import card_of, target_of

    cuts, cameras = (grid, windows, overlap), (camera, camera_pattern)
    reading = reading_of(cuts, False, every, cameras)
    target = target_of(index, store)
    card = card_of(target)
    if are_windows(card):
        reading = reading_of(cuts, True, every, cameras)
    settings = BuildSettings(reading=reading, wait_s=wait, device=faiss_device(device))
    opened = open_matching(card, model, runtime, device, threads)
    if dry_run:
        return _plan(target, sources, opened, settings, as_json=as_json)
    say(f"embedding with {plain(model)} on {opened.runtime}")
    return _fill(target, sources, opened, settings, as_json=as_json)


def _plan(
    target: "Target",
    sources: list[Path],
    embedder: "Embedder",
    settings: "BuildSettings",
    *,
    as_json: bool,
) -> int:
    """Tell what a build would make; the embedder, of which only the card counts, is closed."""
    from indexes.open import plan

    embedder.close()
    planned = plan(target, sources, embedder.card, settings)
    expected = planned.expected
    say(
        f"{count(planned.there, 'vector')} there, {expected.vectors} to come from "
        f"{count(expected.sources, 'source')}"
    )
    if expected.unknown:
        warn(
            f"{count(expected.unknown, 'source')} will give more (videos, pictures that are cut); "
            "how many, only reading tells, and what follows is without these"
        )
    say_plan(planned.plan)
    if as_json:
        emit(planned.as_json())
    else:
        show_line(planned.plan.key)
    return 0


def _fill(
    target: "Target",
    sources: list[Path],
    embedder: "Embedder",
    settings: "BuildSettings",
    *,
    as_json: bool,
) -> int:
    """Build with an embedder, which is closed, and tell; the exit code."""
    from indexes.open import info

    if isinstance(target, Path):
        say_waiting(target, settings.wait_s)
    try:
        report = build_with_bar(target, sources, embedder, settings)
    finally:
        embedder.close()
    tell(report)
    made = info(target)
    if note := recall_note(made):
        warn(note)
    if as_json:
        emit(as_contract(made, report))
    else:
        show_line(report.index)
    return 3 if report.quarantined else 0


@app.command("info")
def show_info(
    index: IndexFolder = DEFAULT_INDEX, store: Store = None, as_json: Json = False
) -> int:
    """Say what an index holds, what it takes, and how well it finds."""
    from rich.table import Table
    from rich.text import Text

    from indexes.open import info, target_of
    from indexes.plan.choose import size_text

    made = info(target_of(index, store))
    content = made.as_json()
    if as_json:
        emit(content)
        return 0
    if note := recall_note(made):
        warn(note)
    if content["mapped"]:
        warn(
            f"{count(content['mapped'], 'vector')} of an older model, mapped when it was upgraded: "
            "vr index upgrade embeds them"
        )
    table = Table(show_header=False)
    asked = {name: value for name, value in content["budget"].items() if value is not None}
    content["budget"] = ", ".join(f"{name} {value}" for name, value in asked.items())
    for size in ("bytes", "memory_bytes"):
        content[size] = size_text(content[size])
    for key, value in content.items():
        table.add_row(key, Text(visible(value)))
    show_table(table)
    return 0


def build_with_bar(
    target: "Target",
    sources: list[Path],
    embedder: "Embedder",
    settings: "BuildSettings | None" = None,
) -> "BuildReport":
    """Build with a progress bar over the bytes of the sources."""
    from indexes.open import build as build_index

    with progress_bar("indexing", None) as bar:
        return build_index(
            target, sources, embedder, settings, on_progress=lambda at: show_building(bar, at)
        )


def show_building(bar: Bar, at: "BuildProgress") -> None:
    """Move the bar to where a build is."""
    if at.phase == "reading":
        note = f"{at.done} of {at.total} sources  {at.vectors} vectors  {plain(at.source)}"
    else:
        note = f"{at.phase} {at.vectors} vectors"
    bar.at(at.share, 1.0, note)


def tell(report: "BuildReport") -> None:
    """What a build did, for people."""
    for item in report.quarantined:
        warn_set_aside(item.path, item.reason)
    for note in report.notes:
        warn(plain(note))
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
