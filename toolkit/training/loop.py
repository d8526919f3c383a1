"""`vr train`: from a folder of pair shards to a run."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from toolkit.errors import InputError, MismatchError
from toolkit.evaluation.retrieval import RetrievalMetrics
from toolkit.networks.backbones import backbone_defaults
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.initial import check_initial, load_initial
from toolkit.networks.saved import save_model
from toolkit.training.batches import mean_image
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.computing import check_machine, uses_bfloat16
from toolkit.training.distributed import Team, check_batch, current, joined
from toolkit.training.follow import follow_steps
from toolkit.training.metrics import MetricsLog
from toolkit.training.prepare import TrainingData, prepare_data
from toolkit.training.run_folder import RunFolder
from toolkit.training.session import OnProgress, Session, Work
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer
from toolkit.training.watch.watcher import RunWatcher, Watched


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a finished run gives.

    checkpoint and metrics are those of the state that was kept; metrics is None where nothing
    was held out to measure on. loss: of the last step; NaN where none was taken.
    """

    run: Path
    steps: int
    loss: float
    checkpoint: Path
    metrics: RetrievalMetrics | None
    train_pairs: int
    held_out_pairs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What to compute on: it may change from one sitting of a run to the next.

    device: "auto", "cpu" or "cuda"; workers: threads that read ahead, a
    batch each.
    """

    device: str = "auto"
    workers: int = 0


HERE = Machine()


def train(
    patches: Path,
    run: RunFolder,
    settings: TrainSettings,
    *,
    resume: bool = False,
    machine: Machine = HERE,
    on_progress: OnProgress | None = None,
) -> TrainReport:
    """Train from the first step, or with `resume` from where the last checkpoint stands.

    Raises InputError (too little data), MissingError (no such device), MismatchError (the
    patches or settings are not those that the run began with), TrainingError (the loss is
    no longer a number), Interrupted (resumable), StorageError (also where another process
    trains this run), UsageError (one of its name has been made in the meantime).

    Where torchrun or `vr train --gpus` has started several processes, each of them calls this;
    only the first writes, measures and reports.
    """
    with _place(run, resume) if current().rank == 0 else nullcontext():
        return _train(patches, run, settings, resume, machine, on_progress)


def _place(run: RunFolder, resume: bool) -> AbstractContextManager[None]:
    return run.held() if resume else run.claimed()


def _train(
    patches: Path,
    run: RunFolder,
    settings: TrainSettings,
    resume: bool,
    machine: Machine,
    on_progress: OnProgress | None,
) -> TrainReport:
    begun = time.perf_counter()
    goes_on = resume and run.last.exists()
    if settings.init and not goes_on:
        check_initial(settings.backbone, settings.init)
    device = check_machine(settings, machine.device, current().world)
    check_batch(settings.batch_pairs, current().world)
    settings = settings.resolved("bf16" if uses_bfloat16(settings.precision, device) else "fp32")
    with joined(device) as team:
        data = _prepared(patches, settings, machine.workers, team, device)
        # All take the weights of the first process before the first step.
        fresh = team.leads and not goes_on
        trainer = Trainer(_network(data, settings, fresh=fresh), settings, device, team)
        first, best = _restore(run, trainer, data) if goes_on else (0, -1.0)
        loss, metrics, checkpoint = float("nan"), None, run.last
        if not team.leads:
            follow_steps(data, trainer, first)
        else:
            if not goes_on:
                run.begin(settings, data.record, trainer.network.initial)
            run.make_latest()
            with MetricsLog(run, from_step=first) as log:
                watcher = RunWatcher(Watched(run, data, settings, log), first)
                work = Work(run, data, trainer, [watcher], on_progress)
                session = Session(work, log, best)
                session.run_steps(first)
            loss = session.loss
            checkpoint, metrics = _keep(session)
    return TrainReport(
        run=run.path,
        steps=settings.steps,
        loss=loss,
        checkpoint=checkpoint,
        metrics=metrics,
        train_pairs=data.record.train_pairs,
        held_out_pairs=len(data.record.held_out),
        seconds=time.perf_counter() - begun,
    )


def _prepared(
    patches: Path, settings: TrainSettings, workers: int, team: Team, device: str
) -> TrainingData:
    data = prepare_data(patches, settings, workers, team.share, pin=device == "cuda")
    if settings.keep == "best" and data.held_out is None and team.leads:
        raise InputError(
            "The setting keep is 'best', but too few pairs are held out to tell which is best.",
            mend="Keep the last state, hold out more, or mine more video.",
        )
    return data


def _network(data: TrainingData, settings: TrainSettings, *, fresh: bool) -> EmbeddingNetwork:
    """The network before the first step; where its weights come from a checkpoint, any."""
    torch.manual_seed(settings.seed)
    defaults = backbone_defaults(settings.backbone)
    network = EmbeddingNetwork(
        settings.backbone,
        settings.preprocessing,
        settings.embedding_dim,
        mean_image=defaults.mean_image,
    )
    if fresh and defaults.mean_image:
        mean = torch.from_numpy(mean_image(data.dataset)).permute(2, 0, 1)
        network.preprocess.mean.copy_(network.preprocess.order(mean[None])[0])
    if fresh and settings.init:
        network.initial = load_initial(network, settings.init).as_json()
    return network


def _restore(run: RunFolder, trainer: Trainer, data: TrainingData) -> tuple[int, float]:
    """Load the last checkpoint; the step to go on from and the best recall so far."""
    checkpoint = load_checkpoint(run.last)
    if checkpoint.data_digest != data.record.digest:
        raise MismatchError(
            f"The patches are not those that {run.path} was begun with.",
            mend="Start a new run with --name, or bring the old patches back.",
        )
    if checkpoint.settings != trainer.settings.as_json():
        raise MismatchError(
            f"{run.path / 'settings.json'} is not what the run was trained with so far, or this "
            "machine computes in another precision.",
            mend="Bring the old settings back, or start a new run with --name.",
        )
    trainer.load_state(checkpoint.model, checkpoint.ema, checkpoint.optimizer)
    torch.set_rng_state(checkpoint.torch_rng)
    return checkpoint.step, checkpoint.best_recall


def _keep(session: Session) -> tuple[Path, RetrievalMetrics | None]:
    """Save the state that the settings keep for use; its checkpoint and what it reaches."""
    work, trainer = session.work, session.trainer
    step, source, metrics = trainer.settings.steps, work.run.last, session.metrics
    if trainer.settings.keep == "best":
        source = work.run.best
        checkpoint = load_checkpoint(source)
        step = checkpoint.step
        trainer.result.load_state_dict(checkpoint.ema or checkpoint.model)
        evaluation = session.measure(trainer.result)
        metrics = evaluation.metrics if evaluation else None
    lineage = {
        "run": work.run.path.name,
        "recipe": trainer.settings.recipe,
        "step": step,
        "data": work.data.record.digest,
    }
    initial = work.run.read_initial()
    if initial:
        lineage["init"] = initial
    save_model(trainer.result, work.run.path, lineage)
    return source, metrics
