"""`vr transfer`: labelled pictures and a trained run to a classifier."""
# ruff: noqa: ARG001 - the flags that are settings are read from the context

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import DEFAULT_LATEST, DEFAULT_RUNS, Device, Json, Overwrite
from cli.output import (
    Bar,
    count,
    emit,
    plain,
    progress_bar,
    say,
    show_line,
    warn,
    warn_set_aside,
)
from cli.train_flags import comes_from
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.transfer.loop import TransferReport
    from toolkit.transfer.run import TransferFolder
    from toolkit.transfer.session import TransferProgress, Watch
    from toolkit.transfer.settings import TransferSettings

_QUARANTINED = 3
_SETTINGS = ("epochs", "steps", "batch", "rate", "turn", "seed", "group_by")


def transfer(
    context: typer.Context,
    labels: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="A folder with a folder of pictures for each class, or a CSV file with path "
            "and label.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        Path, typer.Option("--from", metavar="RUN", help="The run whose network to begin with.")
    ] = DEFAULT_LATEST,
    mode: Annotated[
        Literal["head", "finetune"],
        typer.Option(
            help="head learns a linear layer and leaves the network, and so its vectors, as they "
            "are; finetune trains both."
        ),
    ] = "head",
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the pictures.", show_default="head 10, finetune 20"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Batches to learn from, in place of --epochs.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Pictures in a batch.", show_default="32")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate.", show_default="head 0.01, finetune 0.0003")
    ] = None,
    turn: Annotated[
        float | None,
        typer.Option(
            metavar="DEGREES",
            help="Augmentation turns a picture by at most this.",
            show_default="10",
        ),
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment",
            help="Learn from crops and other colours too, or from mirrored pictures only.",
            show_default="augment",
        ),
    ] = None,
    group_by: Annotated[
        Literal["none", "folder"],
        typer.Option(help="Keep the pictures of one folder below a class on one side."),
    ] = "none",
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same result.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="date and time")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = DEFAULT_RUNS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run --name, with its own settings.")
    ] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Learn to name things from labelled pictures, on top of a trained network.

    A quarter of the pictures is held out to measure on, and the best epoch is kept. `vr export`
    makes a bundle of the run that gives probabilities beside the vectors.
    """
    from toolkit.training.run_folder import run_path
    from toolkit.transfer.run import TransferFolder

    if resume:
        report = _resume(context, labels, out, name, device)
    else:
        if labels is None:
            raise UsageError("There are no labelled pictures.", mend="Give a folder of them.")
        settings = _settings(context)
        made = name or f"{datetime.now():%Y%m%d-%H%M%S}-{mode}"
        run = TransferFolder.create(run_path(out, made), overwrite=overwrite)
        report = _begin(labels, base, run, settings, device)
    tell(report)
    if as_json:
        emit(as_contract(report))
    else:
        show_line(str(report.run.path))
    return _QUARANTINED if report.store.pictures.set_aside else 0


def _settings(context: typer.Context) -> "TransferSettings":
    from toolkit.transfer.settings import TransferSettings

    names = (*_SETTINGS, "augment")
    changes = {name: context.params[name] for name in names}
    return TransferSettings.of_mode(context.params["mode"], changes)


def _begin(
    labels: Path, base: Path, run: "TransferFolder", settings: "TransferSettings", device: str
) -> "TransferReport":
    from toolkit.device import resolve_device
    from toolkit.errors import InputError
    from toolkit.transfer.loop import transfer as learn

    if not (base / "model.safetensors").is_file():
        raise InputError(
            f"There is no finished run at {base}.",
            mend="Train one with `vr train`, or give the folder of one with --from.",
        )
    say(f"learning from {plain(labels)} on {resolve_device(device)}, mode {settings.mode}")
    with progress_bar("transfer", None, count=True) as bar:
        return learn(labels, base, run, settings, device=device, watch=_watch(bar))


def _resume(
    context: typer.Context, labels: Path | None, out: Path, name: str | None, device: str
) -> "TransferReport":
    from toolkit.training.run_folder import run_path
    from toolkit.transfer.loop import resume
    from toolkit.transfer.run import TransferFolder

    if name is None:
        raise UsageError("--resume needs the --name of the run to go on with.")
    given = ("base", "mode", "augment", "overwrite", *_SETTINGS)
    for parameter in given:
        if comes_from(context, parameter, "COMMANDLINE"):
            flag = "from" if parameter == "base" else parameter.replace("_", "-")
            raise UsageError(
                f"--resume goes on with the settings of the run; --{flag} cannot change them.",
                mend="Leave it out, or begin a new run with another --name.",
            )
    run = TransferFolder.open(run_path(out, name))
    with progress_bar("transfer", None, count=True) as bar:
        return resume(run, labels, device=device, watch=_watch(bar))


def _watch(bar: Bar) -> "Watch":
    from toolkit.transfer.session import Watch

    def at_step(at: "TransferProgress") -> None:
        bar.at(at.step, at.steps, f"loss {at.loss:.3f}  accuracy {at.accuracy:.3f}")

    return Watch(lambda done, total: bar.at(done, total, "reading"), at_step)


def tell(report: "TransferReport") -> None:
    """The end of a transfer for people."""
    for path, reason in report.store.pictures.set_aside:
        warn_set_aside(path, reason)
    measured, accuracy = report.measured, report.measured.accuracy
    classes = count(len(report.store.pictures.classes), "class", "classes")
    say(
        f"[bold]learned[/] {classes} from {count(len(report.store.split.train), 'picture')} in "
        f"{report.seconds:.0f} s: {plain(report.run.path)}"
    )
    say(
        f"{len(measured.labels)} held-out pictures: accuracy {accuracy.value:.3f} "
        f"({accuracy.low:.3f} to {accuracy.high:.3f}), mean over the classes "
        f"{measured.class_mean:.3f}; {plain(report.run.page)} shows what is taken for what"
    )
    if report.store.split.untested:
        left = count(len(report.store.split.untested), "class", "classes")
        warn(f"{left} had too few pictures to be tested on")


def as_contract(report: "TransferReport") -> dict[str, Any]:
    """The `transfer` contract of docs/formats.md."""
    measured = report.measured
    return {
        "run": str(report.run.path),
        "mode": report.settings.mode,
        "classes": list(report.store.pictures.classes),
        "train": len(report.store.split.train),
        "held_out": len(measured.labels),
        "steps": report.steps,
        "best_step": report.best_step,
        **measured.accuracy.as_json(),
        "class_mean": measured.class_mean,
        "fingerprint": report.card.fingerprint,
        "base_fingerprint": report.base.fingerprint,
        "page": str(report.run.page),
        "quarantined": [
            {"picture": path, "reason": why} for path, why in report.store.pictures.set_aside
        ],
        "seconds": round(report.seconds, 3),
    }
