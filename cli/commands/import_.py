"""`vr import`: what was published with the ICCV 2015 paper, into runs and patches."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import DEFAULT_PATCHES, DEFAULT_RUNS, Json, Overwrite
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
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.caffe.import_model import ImportedModel
    from toolkit.caffe.mean_file import MeanImage
    from toolkit.patches.list_samples import ListProgress, ListReport

LINES_SHOWN = 20

app = typer.Typer(no_args_is_help=True, help="Take over models, means and patches of Caffe.")


@app.command("caffe")
def import_caffe(
    model: Annotated[Path, typer.Argument(help="The published .caffemodel, color or gray.")],
    mean: Annotated[
        str,
        typer.Option(
            help="Its mean file (.binaryproto), three numbers blue,green,red, or none.",
            show_default="must be said",
        ),
    ] = "",
    prototxt: Annotated[
        Path | None, typer.Option(help="Description of the network, to check it too.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="that of the model")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = DEFAULT_RUNS,
    gray: Annotated[
        bool, typer.Option("--gray", help="The gray model: pictures are made gray first.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Read a published model into a run, for vr eval, vr export and vr index build."""
    from toolkit.caffe.import_model import PublishedModel, import_model
    from toolkit.training.run_folder import RunFolder, run_path

    named = _plain_name(model) if name is None else name
    run = RunFolder.create(run_path(out, named), overwrite=overwrite)
    imported = import_model(PublishedModel(model, mean, prototxt, gray), run)
    tell_model(imported)
    if as_json:
        emit(model_contract(imported))
    else:
        show_line(str(imported.run))
    return 0


@app.command("mean")
def import_mean(
    file: Annotated[Path, typer.Argument(help="A mean image of Caffe (.binaryproto).")],
    out: Annotated[
        Path | None,
        typer.Option(help="Write it there as .npy: float32 (channels, height, width), BGR."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Show a mean image of Caffe, and write it for NumPy."""
    from toolkit.caffe.mean_file import read_mean

    mean = read_mean(file)
    if out is not None:
        _write_npy(mean, out, overwrite=overwrite)
    content = mean_contract(file, mean, out)
    if as_json:
        emit(content)
    elif out is not None:
        show_line(str(out))
    else:
        _show(content)
    return 0


@app.command("trainlist")
def import_trainlist(
    list_file: Annotated[
        Path, typer.Argument(metavar="LIST", help="Text file: `path label` a line, pair by pair.")
    ],
    root: Annotated[
        list[Path],
        typer.Option(help="Folder or tar archive in which the paths are looked up; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of pair shards to add to.")] = DEFAULT_PATCHES,
    labels: Annotated[
        Literal["track", "video"],
        typer.Option(help="What pairs of one label share: the thing itself, or only the video."),
    ] = "track",
    camera: Annotated[str, typer.Option(help="What filmed the patches.")] = "trainlist",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Turn a published list and its patches into pair shards, for vr train."""
    from toolkit.patches.import_list import import_list
    from toolkit.patches.list_samples import ListImport

    settings = ListImport(labels, camera, overwrite)
    with progress_bar("importing", None) as bar:
        report = import_list(list_file, root, out, settings, lambda at: _move(bar, at))
    tell_list(report)
    if as_json:
        emit(list_contract(report))
    else:
        show_line(str(report.out))
    return 3 if report.left_out or report.damaged else 0


def _plain_name(model: Path) -> str:
    return re.sub(r"[^\w.+-]+", "-", model.stem).strip("-.+") or "caffe"


def _write_npy(mean: "MeanImage", out: Path, *, overwrite: bool) -> None:
    import io

    import numpy as np

    from toolkit.workspace import write_bytes

    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists.", mend="Use --overwrite to replace it.")
    buffer = io.BytesIO()
    np.save(buffer, mean.pixels)
    write_bytes(out, buffer.getvalue())


def _show(content: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    for key in ("mean", "shape", "means", "min", "max"):
        table.add_row(key, Text(visible(content[key])))
    show_table(table)


def _move(bar: Bar, at: "ListProgress") -> None:
    note = f"{at.pairs} pairs" if at.pairs else f"reading {plain(at.stage)}"
    bar.at(at.done, at.total, note)


def tell_model(imported: "ImportedModel") -> None:
    """What was imported, for people."""
    if imported.ignored:
        warn(f"passed over {plain(', '.join(imported.ignored))}: copies or losses")
    mean = imported.card.lineage["mean"]
    say(
        f"[bold]imported[/] {plain(imported.run)}: {imported.card.preprocessing.channels}, mean "
        f"{plain(mean)}, {imported.card.dim} numbers a picture"
    )


def tell_list(report: "ListReport") -> None:
    """What was taken and what was not, for people."""
    for item in report.damaged:
        warn_set_aside(item.path, item.reason)
    for problem in report.problems[:LINES_SHOWN]:
        warn(f"{plain(report.source)}:{problem.line}: {plain(problem.reason)}")
    rest = report.wrong_lines - LINES_SHOWN
    if rest > 0:
        warn(f"and {count(rest, 'more line')} that cannot be used")
    left = f"; {count(report.left_out, 'pair')} left out" if report.left_out else ""
    say(
        f"[bold]{count(report.pairs, 'pair')}[/] of {count(report.labels, 'label')} "
        f"in {count(len(report.shards), 'shard')}: {plain(report.out)}{left}"
    )


def model_contract(imported: "ImportedModel") -> dict[str, Any]:
    """The `import caffe` contract of docs/formats.md."""
    card = imported.card
    return {
        "run": str(imported.run),
        "backbone": card.backbone,
        "dim": card.dim,
        "channels": card.preprocessing.channels,
        "mean": card.lineage["mean"],
        "fingerprint": card.fingerprint,
        "ignored": list(imported.ignored),
    }


def mean_contract(file: Path, mean: "MeanImage", out: Path | None) -> dict[str, Any]:
    """The `import mean` contract of docs/formats.md."""
    return {
        "mean": str(file),
        "shape": list(mean.pixels.shape),
        "means": mean.channel_means,
        "min": round(float(mean.pixels.min()), 3),
        "max": round(float(mean.pixels.max()), 3),
        "out": None if out is None else str(out),
    }


def list_contract(report: "ListReport") -> dict[str, Any]:
    """The `import trainlist` contract of docs/formats.md."""
    return {
        "out": str(report.out),
        "list": str(report.source),
        "pairs": report.pairs,
        "labels": report.labels,
        "left_out": report.left_out,
        "wrong_lines": report.wrong_lines,
        "problems": [{"line": p.line, "reason": p.reason} for p in report.problems],
        "damaged": [{"root": item.path, "reason": item.reason} for item in report.damaged],
        "shards": [str(shard) for shard in report.shards],
    }
