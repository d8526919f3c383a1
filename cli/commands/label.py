"""`vr label`: a few labels in, thousands out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.index_budget import Wait
from cli.label_tables import (
    show_batches,
    show_classes,
    show_import,
    show_spread,
    show_suggestions,
    show_summary,
    warn_formulas,
)
from cli.options import DEFAULT_INDEX, DryRun, IndexFolder, Json, Overwrite
from cli.output import count, emit, plain, progress_bar, say, show_line, visible, warn

app = typer.Typer(
    no_args_is_help=True, help="Label a few tracks, spread it over the index, take it elsewhere."
)

_REFUSED = 3


@app.command("import")
def import_(
    labels: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns label and id, track, or source and time_s (and x0 to y1); "
            "or a folder with a folder of images for each class."
        ),
    ],
    index: IndexFolder = DEFAULT_INDEX,
    wait: Wait = 0.0,
    as_json: Json = False,
) -> int:
    """Give labels to tracks, or to patches without one, in one step that can be taken back."""
    from indexes.labels.given import import_labels

    with progress_bar("matching", None, count=True) as bar:
        report = import_labels(index, labels, bar.at, wait)
    show_import(report)
    if as_json:
        emit({"index": str(index), **report.as_json()})
    else:
        show_classes(report.classes)
    return _REFUSED if report.refused else 0


@app.command("spread")
def spread(
    accuracy: Annotated[
        float, typer.Option(help="Share of the new labels that should be right.")
    ] = 0.95,
    closed: Annotated[
        bool,
        typer.Option("--closed", help="Every thing in the index is of a class that has labels."),
    ] = False,
    uncalibrated: Annotated[
        bool,
        typer.Option(
            "--uncalibrated",
            help="Label even where the labels cannot promise that accuracy, or any.",
        ),
    ] = False,
    dry_run: DryRun = False,
    index: IndexFolder = DEFAULT_INDEX,
    wait: Wait = 0.0,
    as_json: Json = False,
) -> int:
    """Label what looks like labelled tracks; whatever the vote is not sure of stays without."""
    from indexes.labels.spread import SpreadSettings
    from indexes.labels.spread import spread as spread_labels

    settings = SpreadSettings(
        accuracy=accuracy, closed=closed, uncalibrated=uncalibrated, dry_run=dry_run, wait_s=wait
    )
    with progress_bar("comparing", None) as bar:
        report = spread_labels(index, settings, bar.at)
    show_spread(report)
    if as_json:
        emit({"index": str(index), **report.as_json()})
    else:
        show_classes(report.classes)
    return 0


@app.command("suggest")
def suggest(
    number: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 20,
    html: Annotated[Path | None, typer.Option(help="Write a page with the pictures.")] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a list to fill in, for `vr label import`.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Write the pictures here, to sort into folders for `vr label import`."),
    ] = None,
    index: IndexFolder = DEFAULT_INDEX,
    as_json: Json = False,
) -> int:
    """Say which tracks to label next: those that tell most about the rest."""
    from indexes.labels.sheet import write_list, write_pictures, write_sheet
    from indexes.labels.suggest import suggest as suggest_labels

    found = suggest_labels(index, number)
    if csv is not None:
        warn_formulas(write_list(csv, found.suggestions))
        say(f"fill its column label in: {plain(csv)}")
    if pictures is not None:
        written = write_pictures(pictures, found.suggestions)
        say(f"{count(written, 'picture')} to sort into folders: {plain(pictures)}")
    if html is not None:
        write_sheet(html, found, str(index))
        say(f"look at them: {plain(html)}")
    if as_json:
        suggestions = [one.as_json() for one in found.suggestions]
        counted = {"things": found.things, "given": found.given}
        emit({"index": str(index), **counted, "suggestions": suggestions})
    else:
        show_suggestions(found)
    return 0


@app.command("list")
def list_(index: IndexFolder = DEFAULT_INDEX, as_json: Json = False) -> int:
    """Count the labels: by class, by batch, given and spread."""
    from indexes.labels.summary import summarise

    summary = summarise(index)
    if as_json:
        emit({"index": str(index), **summary.as_json()})
    else:
        show_summary(summary)
    return 0


@app.command("undo")
def undo(
    batch: Annotated[
        int | None, typer.Option(help="Which batch of `vr label list`.", show_default="the newest")
    ] = None,
    index: IndexFolder = DEFAULT_INDEX,
    wait: Wait = 0.0,
    as_json: Json = False,
) -> int:
    """Take an import or a spread back; what it had covered counts again."""
    from indexes.labels.table import undo as undo_batch

    gone = undo_batch(index, batch, wait)
    say(f"took back batch {gone.id} ({gone.kind}): {count(gone.labels, 'label')}")
    if as_json:
        emit({"index": str(index), **gone.as_json()})
    else:
        show_batches([gone])
    return 0


@app.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="A .csv, a .json (COCO), or a folder (FiftyOne).")],
    form: Annotated[
        Literal["csv", "coco", "fiftyone"] | None,
        typer.Option("--format", help="What to write.", show_default="as the name says"),
    ] = None,
    given: Annotated[bool, typer.Option("--given", help="Leave out what was spread.")] = False,
    overwrite: Overwrite = False,
    index: IndexFolder = DEFAULT_INDEX,
    as_json: Json = False,
) -> int:
    """Write every labelled patch with its box: for training, or to look through."""
    from indexes.labels.export.write import export_labels

    with progress_bar("writing", None, count=True) as bar:
        report = export_labels(
            index, out, form, given_only=given, overwrite=overwrite, on_progress=bar.at
        )
    for source in report.unsized[:10]:
        warn(f"{plain(source)} cannot be read: its pictures are without width and height")
    warn_formulas(report.formulas)
    say(
        f"[bold]{count(report.patches, 'labelled patch', 'labelled patches')}[/] as {report.format}"
    )
    if as_json:
        emit({"index": str(index), **report.as_json()})
    else:
        show_line(visible(report.out))
    return 0
