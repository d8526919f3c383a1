"""`vr train`: pair shards to a trained network; mines first where nothing was mined yet."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.mine import mine_with_bar
from cli.commands.mine import tell as tell_mining
from cli.options import DEFAULT_PATCHES, DEFAULT_RUNS, Device, Json, Overwrite, Patches, Workers
from cli.output import Bar, count, emit, plain, progress_bar, say, show_line, warn
from toolkit.errors import InputError, UsageError
from toolkit.workspace import write_bytes

if TYPE_CHECKING:
    from toolkit.training.loop import Machine, TrainProgress, TrainReport
    from toolkit.training.run_folder import RunFolder
    from toolkit.training.settings import TrainSettings

UNFINISHED = ".mining"
_RECIPE = "Recipe"
_RUN = "Run"


def train(
    context: typer.Context,
    patches: Patches = DEFAULT_PATCHES,
    recipe: Annotated[
        str, typer.Option(help="modern or wang2015.", rich_help_panel=_RECIPE)
    ] = "modern",
    backbone: Annotated[
        str | None, typer.Option(help="alexnet or small.", rich_help_panel=_RECIPE)
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="rank-hard or infonce.", rich_help_panel=_RECIPE)
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Input height and width, pixels.", rich_help_panel=_RECIPE)
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Length of an embedding.", rich_help_panel=_RECIPE)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Batches to learn from.", rich_help_panel=_RECIPE)
    ] = None,
    batch_pairs: Annotated[
        int | None, typer.Option(help="Pairs in a batch.", rich_help_panel=_RECIPE)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate.", rich_help_panel=_RECIPE)
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Hold out by time (the end of each video) or by video."),
    ] = None,
    held_out: Annotated[
        float | None, typer.Option(help="Part of the footage to measure on, 0 to 0.9.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same result.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run.", show_default="date and time", rich_help_panel=_RUN),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.", rich_help_panel=_RUN)] = (
        DEFAULT_RUNS
    ),
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with --name, or the latest.", rich_help_panel=_RUN),
    ] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    workers: Workers = 1,
    as_json: Json = False,
) -> int:
    """Train an embedding network on mined pairs (and mine this folder's video first if need be).

    Ctrl-C leaves a run that --resume takes up again.
    """
    from toolkit.device import resolve_device
    from toolkit.training.loop import Machine
    from toolkit.training.run_folder import RunFolder
    from toolkit.training.settings import TrainSettings

    changes: dict[str, Any] = {
        "backbone": backbone, "loss": loss, "size": size, "dim": dim, "steps": steps,
        "batch_pairs": batch_pairs, "rate": rate, "split": split, "held_out": held_out,
        "seed": seed,
    }  # fmt: skip
    resolve_device(device)
    if name is not None:
        _check_name(name)
    code = 0
    if resume:
        typed = _typed(context)
        _refuse_changes(typed, {*changes, "recipe", "overwrite"})
        run = RunFolder.open(out / (name or "latest"))
        settings = run.read_settings()
        patches = patches if "patches" in typed else Path(run.read_data().patches)
    else:
        settings = TrainSettings.from_recipe(recipe, changes)
        run = RunFolder.create(out / (name or _new_name(settings)), overwrite=overwrite)
        code = _mine_if_needed(patches)
    report = train_with_bar(patches, run, settings, Machine(device, workers), resume=resume)
    tell(report)
    if as_json:
        emit(as_contract(report))
    else:
        show_line(str(report.run))
    return code


def _check_name(name: str) -> None:
    """A name is one folder below --out, never a way out of it."""
    if not name or Path(name).name != name:
        raise UsageError(
            f"{name!r} cannot be the name of a run.",
            mend="Use a plain word; --out says in which folder the runs lie.",
        )


def _new_name(settings: "TrainSettings") -> str:
    return f"{datetime.now():%Y%m%d-%H%M%S}-{settings.backbone}"


def _typed(context: typer.Context) -> set[str]:
    """The options that stand on the command line, not in vr.toml or among the defaults."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _refuse_changes(typed: set[str], settings: set[str]) -> None:
    given = sorted(name.replace("_", "-") for name in typed & settings)
    if given:
        raise UsageError(
            f"--resume goes on with the settings of the run; --{given[0]} cannot change them.",
            mend="Leave it out, or start a new run with --name.",
        )


def _mine_if_needed(patches: Path) -> int:
    """Mine the videos of this folder where there are no shards yet; the exit code so far."""
    from toolkit.mining.settings import MiningSettings
    from toolkit.patches.shards import find_shards
    from toolkit.video.find import find_videos

    # It stands while this folder is being mined: a kill in the middle must not leave a run
    # that silently trains on the first few videos.
    unfinished = patches / UNFINISHED
    if find_shards(patches) and not unfinished.exists():
        return 0
    if patches != DEFAULT_PATCHES or not find_videos([Path()], lambda *_: None):
        raise InputError(
            f"There are no mined pairs in {patches}"
            + ("." if patches != DEFAULT_PATCHES else ", and no video in this folder."),
            mend="Mine some video first (vr mine FOLDER_OF_VIDEO), or go to a folder with video.",
        )
    say("no mined pairs yet: mining the videos of this folder first")
    write_bytes(unfinished, b"vr train is mining the videos of the folder above\n")
    report, audit = mine_with_bar([Path()], patches, MiningSettings())
    unfinished.unlink()
    tell_mining(report, audit)
    if not report.total_pairs:
        raise InputError(
            "Nothing that moves was found in the videos of this folder: there are no pairs to "
            "train on.",
            mend="Add video in which things move, or mine with other settings (vr mine -h).",
        )
    return 3 if report.quarantined else 0


def train_with_bar(
    patches: Path,
    run: "RunFolder",
    settings: "TrainSettings",
    machine: "Machine",
    *,
    resume: bool = False,
) -> "TrainReport":
    """Train with a progress bar over the steps."""
    from toolkit.device import resolve_device
    from toolkit.training.loop import train as run_training

    say(
        f"training {settings.backbone} with {settings.loss} for {settings.steps} steps "
        f"on {resolve_device(machine.device)}"
    )
    with progress_bar("training", settings.steps, count=True) as bar:
        return run_training(
            patches,
            run,
            settings,
            resume=resume,
            machine=machine,
            on_progress=lambda at: _show(bar, at),
        )


def _show(bar: Bar, at: "TrainProgress") -> None:
    recall = "" if at.recall_at_1 is None else f"  R@1 {at.recall_at_1:.2f}"
    bar.at(at.step, at.steps, f"loss {at.loss:.3f}{recall}  {at.pairs_per_second:.0f} pairs/s")


def tell(report: "TrainReport") -> None:
    """The end of a run for people."""
    say(
        f"[bold]trained[/] on {count(report.train_pairs, 'pair')} in {report.seconds:.0f} s: "
        f"{plain(report.run)}"
    )
    if report.metrics:
        m = report.metrics
        say(
            f"{m.queries} held-out queries: R@1 {m.recall_at_1:.3f}, R@5 {m.recall_at_5:.3f}, "
            f"MAP@R {m.map_at_r:.3f} (vr eval shows it beside the baselines)"
        )
    else:
        warn("too few held-out pairs to measure recall on; mine more video to know how good it is")


def as_contract(report: "TrainReport") -> dict[str, Any]:
    """The `train` contract of docs/formats.md."""
    return {
        "run": str(report.run),
        "steps": report.steps,
        "loss": report.loss if report.loss == report.loss else None,
        "checkpoint": str(report.checkpoint),
        "metrics": report.metrics.as_json() if report.metrics else None,
        "train_pairs": report.train_pairs,
        "held_out_pairs": report.held_out_pairs,
        "seconds": round(report.seconds, 3),
    }
