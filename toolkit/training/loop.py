"""`vr train`: from a folder of pair shards to a run."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from toolkit.device import resolve_device
from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import Interrupted, MismatchError, TrainingError
from toolkit.evaluation.evaluate import evaluate
from toolkit.evaluation.retrieval import RetrievalMetrics
from toolkit.model_card import ModelCard
from toolkit.networks.backbones import backbone_defaults
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import save_model
from toolkit.training.batches import mean_image
from toolkit.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from toolkit.training.interrupt import stop_between_steps
from toolkit.training.metrics import MetricsLog
from toolkit.training.prepare import TrainingData, prepare_data
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import StepResult, Trainer, uses_bfloat16

CHECKPOINT_EVERY_S = 60.0
LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Where a run stands; recall is None until it was first measured."""

    step: int
    steps: int
    loss: float
    pairs_per_second: float
    recall_at_1: float | None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a finished run gives; metrics is None where nothing was held out to measure on."""

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

    device: "auto", "cpu" or "cuda"; workers: processes that decode patches, where these do
    not fit in memory.
    """

    device: str = "auto"
    workers: int = 0


HERE = Machine()

OnProgress = Callable[[TrainProgress], None]


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
    no longer a number), Interrupted (resumable), StorageError.
    """
    device = resolve_device(machine.device)
    settings = settings.resolved("bf16" if uses_bfloat16(settings.precision, device) else "fp32")
    data = prepare_data(patches, settings, machine.workers)
    network = _new_network(data, settings)
    trainer = Trainer(network, settings, device)
    begun = time.perf_counter()
    first, best = 0, -1.0
    if resume and run.last.exists():
        first, best = _restore(run, trainer, data)
    else:
        run.begin(settings, data.record)
    run.make_latest()
    with MetricsLog(run, from_step=first) as log:
        session = _Session(run, data, trainer, log, best, on_progress)
        session.run_steps(first)
    save_model(network, run.path, session.lineage())
    return TrainReport(
        run=run.path,
        steps=settings.steps,
        loss=session.loss,
        checkpoint=run.last,
        metrics=session.metrics,
        train_pairs=data.record.train_pairs,
        held_out_pairs=len(data.record.held_out),
        seconds=time.perf_counter() - begun,
    )


def _new_network(data: TrainingData, settings: TrainSettings) -> EmbeddingNetwork:
    torch.manual_seed(settings.seed)
    defaults = backbone_defaults(settings.backbone)
    network = EmbeddingNetwork(
        settings.backbone,
        settings.preprocessing,
        settings.embedding_dim,
        mean_image=defaults.mean_image,
    )
    if defaults.mean_image:
        mean = torch.from_numpy(mean_image(data.dataset)).permute(2, 0, 1)
        network.preprocess.mean.copy_(network.preprocess.order(mean[None])[0])
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
    trainer.network.load_state_dict(checkpoint.model)
    trainer.optimizer.load_state_dict(checkpoint.optimizer)
    torch.set_rng_state(checkpoint.torch_rng)
    return checkpoint.step, checkpoint.best_recall


class _Session:
    """The steps of one sitting: from a first step to the last, or to an interruption."""

    def __init__(
        self,
        run: RunFolder,
        data: TrainingData,
        trainer: Trainer,
        log: MetricsLog,
        best: float,
        on_progress: OnProgress | None,
    ) -> None:
        self.run = run
        self.data = data
        self.trainer = trainer
        self.settings = trainer.settings
        self.log = log
        self.best = best
        self.on_progress = on_progress
        self.loss = float("nan")
        self.metrics: RetrievalMetrics | None = None
        self._saved_at = time.monotonic()
        self._logged_at = time.perf_counter()
        self._logged_step = 0

    def run_steps(self, first: int) -> None:
        """Train from `first` to the last step, measuring, logging and saving on the way."""
        steps = self.settings.steps
        self._logged_step = first
        if first == 0:
            self._evaluate(0)
        with stop_between_steps() as stop:
            for step, batch in enumerate(self.data.batches.steps(first, steps), first):
                result = self.trainer.step(step, batch)
                self._after(step + 1, result)
                if stop.asked:
                    self._save(step + 1)
                    raise Interrupted(
                        f"Interrupted after step {step + 1} of {steps}; the run is saved.",
                        mend=f"Go on with: {self.run.resume_command}",
                    )
        if first == steps:
            self._evaluate(steps)
        self._save(steps)

    def lineage(self) -> dict[str, object]:
        """What model.json says of where the weights come from."""
        return {
            "run": self.run.path.name,
            "recipe": self.settings.recipe,
            "step": self.settings.steps,
            "data": self.data.record.digest,
        }

    def _after(self, done: int, result: StepResult) -> None:
        last = done == self.settings.steps
        if done % LOG_EVERY == 0 or last:
            self._log(done, result)
        if done % self.settings.evaluate_every == 0 or last:
            self._evaluate(done)
        if time.monotonic() - self._saved_at > CHECKPOINT_EVERY_S:
            self._save(done)

    def _log(self, done: int, result: StepResult) -> None:
        self.loss = float(result.loss)
        if not math.isfinite(self.loss):
            raise TrainingError(
                f"The loss is {self.loss} at step {done}: the run has diverged.",
                mend="Start again with a lower --rate.",
            )
        now = time.perf_counter()
        pairs = (done - self._logged_step) * self.data.batches.plan.batch_pairs
        rate = pairs / (now - self._logged_at)
        self._logged_at, self._logged_step = now, done
        values = {
            "loss": self.loss,
            "rate": self.trainer.optimizer.param_groups[0]["lr"],
            "pairs_per_second": rate,
            "spread": spread(result.embeddings),
        }
        self.log.write(done, values)
        if self.on_progress:
            recall = self.metrics.recall_at_1 if self.metrics else None
            progress = TrainProgress(done, self.settings.steps, self.loss, rate, recall)
            self.on_progress(progress)

    def _evaluate(self, done: int) -> None:
        if self.data.held_out is None:
            return
        card = ModelCard(
            self.settings.backbone,
            self.settings.embedding_dim,
            self.settings.preprocessing,
            "in training",
            {},
        )
        embedder = TorchEmbedder(self.trainer.network, card, self.trainer.device)
        self.metrics = evaluate(embedder, self.data.held_out)
        self.log.write(done, self.metrics.as_json())
        if self.metrics.recall_at_1 > self.best:
            self.best = self.metrics.recall_at_1
            save_checkpoint(self._checkpoint(done), self.run.best)
        self._logged_at = time.perf_counter()  # measuring is no part of the rate

    def _save(self, done: int) -> None:
        save_checkpoint(self._checkpoint(done), self.run.last)
        self._saved_at = time.monotonic()

    def _checkpoint(self, done: int) -> Checkpoint:
        return Checkpoint(
            step=done,
            best_recall=self.best,
            model=self.trainer.network.state_dict(),
            optimizer=self.trainer.optimizer.state_dict(),
            settings=self.settings.as_json(),
            data_digest=self.data.record.digest,
            torch_rng=torch.get_rng_state(),
        )


def spread(embeddings: torch.Tensor) -> float:
    """How far embeddings (N, D) of length 1 lie apart: 1 as if drawn evenly, 0 collapsed."""
    return float(embeddings.float().std(0, unbiased=False).norm())
