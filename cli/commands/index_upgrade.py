"""`vr index upgrade`: an index from one model to another."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.commands.index import show_building
from cli.index_budget import Wait
from cli.options import (
    DEFAULT_EXPORTED,
    DEFAULT_INDEX,
    Device,
    IndexFolder,
    Json,
    Model,
    Runtime,
    Threads,
    faiss_device,
)
from cli.output import count, emit, plain, progress_bar, say, show_line, warn_set_aside
from cli.query_embedder import Running, open_query_embedder

if TYPE_CHECKING:
    from indexes.upgrade.upgrade import UpgradeReport


def upgrade(
    index: IndexFolder = DEFAULT_INDEX,
    model: Model = DEFAULT_EXPORTED,
    rest: Annotated[
        Literal["refuse", "map", "drop"],
        typer.Option(
            help="Patches whose file is gone: refuse to go on, map their old vectors to the "
            "new model, or drop them."
        ),
    ] = "refuse",
    map_first: Annotated[
        bool,
        typer.Option(
            "--map-first",
            help="Embed a sample only, map everything else, and say what that loses; the next "
            "upgrade embeds the rest.",
        ),
    ] = False,
    sample: Annotated[int, typer.Option(help="Patches that --map-first embeds.")] = 5000,
    wait: Wait = 0.0,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Bring an index to another model; the old one serves until everything is there."""
    from indexes.build.settings import BuildSettings
    from indexes.open import card_of, target_of
    from indexes.upgrade.settings import UpgradeSettings
    from indexes.upgrade.upgrade import upgrade as upgrade_index

    build = BuildSettings(wait_s=wait, device=faiss_device(device))
    settings = UpgradeSettings(rest=rest, map_first=map_first, sample=sample, build=build)
    card = card_of(target_of(index, None))
    embedder = open_query_embedder(card, Running(model, runtime, device, threads), quick=False)
    try:
        say(f"embedding with {plain(model)} on {embedder.runtime}")
        with progress_bar("embedding anew", 1.0) as bar:
            report = upgrade_index(index, embedder, settings, lambda at: show_building(bar, at))
    finally:
        embedder.close()
    _tell(report)
    if as_json:
        emit(report.as_json())
    else:
        show_line(str(index))
    return 3 if report.quarantined else 0


def _tell(report: "UpgradeReport") -> None:
    for item in report.quarantined:
        warn_set_aside(item.path, item.reason)
    if report.quality is not None:
        lost = report.quality.recall_loss
        say(
            f"{count(report.mapped, 'vector')} mapped: {lost:.1%} of the ten nearest are lost "
            f"(measured on {report.quality.queries} others); the next upgrade embeds them"
        )
    if report.dropped:
        say(f"{count(report.dropped, 'patch', 'patches')} dropped")
    say(
        f"[bold]{count(report.embedded, 'vector')}[/] embedded anew in {report.seconds:.1f} s: "
        f"{plain(report.index)} is of the model {report.model[:12]} now"
    )
