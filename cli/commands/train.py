"""`vr train`: pair shards to a trained network; mines first where nothing was mined yet."""
# ruff: noqa: ARG001 - cli.train_flags reads the flags that are settings from the context

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import train_flags as flags
from cli.mine_first import mine_if_needed
from cli.options import DEFAULT_PATCHES, DEFAULT_RUNS, Json, Patches
from cli.output import Bar, count, emit, plain, progress_bar, say, show_line, warn
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.training.loop import Machine, TrainReport
    from toolkit.training.run_folder import RunFolder
    from toolkit.training.session import TrainProgress
    from toolkit.training.settings import TrainSettings


def train(
    context: typer.Context,
    patches: Patches = DEFAULT_PATCHES,
    recipe: flags.Recipe = "modern",
    backbone: flags.Backbone = None,
    init: flags.Init = None,
    size: flags.Size = None,
    dim: flags.Dim = None,
    gray: flags.Gray = False,
    loss: flags.Loss = None,
    steps: flags.Steps = None,
    batch_pairs: flags.BatchPairs = None,
    rate: flags.Rate = None,
    ema: flags.Ema = None,
    positives: flags.Positives = None,
    turn: flags.Turn = None,
    seed: flags.Seed = None,
    assignments: flags.Assignments = None,
    split: flags.SplitBy = None,
    held_out: flags.HeldOut = None,
    keep: flags.Keep = None,
    name: flags.Name = None,
    out: flags.Out = DEFAULT_RUNS,
    resume: flags.Resume = False,
    overwrite: flags.Overwrite = False,
    device: flags.Device = "auto",
    gpus: flags.Gpus = None,
    workers: flags.Workers = 1,
    compile: flags.Compile = None,
    as_json: Json = False,
) -> int:
    """Train an embedding network on mined pairs (and mine this folder's video first if need be).

    Ctrl-C leaves a run that --resume takes up again; so does a kill, but for the last minute.
    """
    from toolkit.training.held_out import patches_folder
    from toolkit.training.launch import errors_to_launcher
    from toolkit.training.loop import Machine
    from toolkit.training.run_folder import LATEST, run_path

    code = 0
    if resume:
        run = _run_to_resume(context, run_path(out, LATEST if name is None else name))
        settings = run.read_settings()
        if not flags.comes_from(context, "patches", "COMMANDLINE"):
            patches = patches_folder(run)
    else:
        settings = flags.training_settings(context)
        place = run_path(out, _new_name(settings) if name is None else name)
        run = _new_run(place, settings, context)
    several = gpus if gpus and not _launched() else 0
    if several:
        _check_launch(settings, several, device)
    if not resume and not _launched():
        code = mine_if_needed(patches)
    if several > 1:
        return max(code, _launch(context, several, run))
    with errors_to_launcher():
        report = train_with_bar(patches, run, settings, Machine(device, workers), resume=resume)
    if not _leads():
        return code
    tell(report)
    if as_json:
        emit(as_contract(report))
    else:
        show_line(str(report.run))
    return code


def _new_name(settings: "TrainSettings") -> str:
    backbone = re.sub(r"[^\w.+-]+", "-", settings.backbone)  # hf:someone/some-name
    return f"{datetime.now():%Y%m%d-%H%M%S}-{backbone}"


def _new_run(path: Path, settings: "TrainSettings", context: typer.Context) -> "RunFolder":
    """A place for a new run on a machine that can compute it: nothing is loaded before."""
    from toolkit.networks.initial import check_initial
    from toolkit.training.computing import check_machine
    from toolkit.training.distributed import current
    from toolkit.training.run_folder import RunFolder

    world = max(context.params["gpus"] or 1, current().world)
    check_machine(settings, context.params["device"], world)
    if settings.init:
        check_initial(settings.backbone, settings.init)
    if not _leads():
        return RunFolder(path)  # the first process has looked, and may have begun
    return RunFolder.create(path, overwrite=context.params["overwrite"])


def _run_to_resume(context: typer.Context, path: Path) -> "RunFolder":
    from toolkit.device import resolve_device
    from toolkit.training.held_out import was_imported
    from toolkit.training.run_folder import RunFolder

    given = flags.typed_settings(context)
    if flags.comes_from(context, "overwrite", "COMMANDLINE"):
        given.append("--overwrite")
    if given:
        raise UsageError(
            f"--resume goes on with the settings of the run; {given[0]} cannot change them.",
            mend="Leave it out, or start a new run with --name.",
        )
    resolve_device(context.params["device"])
    run = RunFolder.open(path)
    if was_imported(run.read_data()):
        raise UsageError(
            f"{run.path} was imported, not trained here: there is nothing to resume.",
            mend=f"Start a new run from its weights with --init {run.path}",
        )
    return run


def _launched() -> bool:
    """Whether somebody has started several processes already, of which this is one."""
    from toolkit.training.distributed import current

    return current().world > 1


def _leads() -> bool:
    """Whether this is the process that writes and speaks, of those that train together."""
    from toolkit.training.distributed import current

    return current().rank == 0


def _check_launch(settings: "TrainSettings", gpus: int, device: str) -> None:
    """Refuse what cannot be shared among so many GPUs, before anything is mined or read."""
    from toolkit.training.distributed import check_batch
    from toolkit.training.launch import check_gpus

    check_batch(settings.batch_pairs, gpus)
    check_gpus(gpus, device)


def _launch(context: typer.Context, gpus: int, run: "RunFolder") -> int:
    """Start a process for each GPU with the same command line; they all need the same name."""
    from toolkit.training.launch import launch

    return launch(gpus, "cli.main", [*context.obj, "--name", run.path.name])


def train_with_bar(
    patches: Path,
    run: "RunFolder",
    settings: "TrainSettings",
    machine: "Machine",
    *,
    resume: bool = False,
) -> "TrainReport":
    """Train with a progress bar over the steps; only the first of several processes shows one."""
    from toolkit.device import resolve_device
    from toolkit.training.loop import train as run_training

    if not _leads():
        return run_training(patches, run, settings, resume=resume, machine=machine)
    say(
        f"training {plain(settings.backbone)} with {settings.loss} for {settings.steps} steps "
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
    for note in at.notes:
        warn(plain(note))


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
        if report.checkpoint.name == "best.pt":
            warn("this is the best of several states by that recall, so it looks better than it is")
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
