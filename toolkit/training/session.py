"""One sitting of a run: its steps, and what is logged, measured and saved on the way."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import torch

from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import Interrupted, StorageError, TrainingError
from toolkit.evaluation.evaluate import Evaluation, embed_and_evaluate
from toolkit.evaluation.retrieval import RetrievalMetrics
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.batches import Batch
from toolkit.training.checkpoint import Checkpoint, save_checkpoint
from toolkit.training.interrupt import stop_between_steps
from toolkit.training.metrics import MetricsLog
from toolkit.training.observers import Observer
from toolkit.training.prepare import TrainingData
from toolkit.training.run_folder import RunFolder
from toolkit.training.schedule import negative_ratios_at
from toolkit.training.step import StepResult, Trainer
from toolkit.training.watch.health import effective_rank, spread

CHECKPOINT_EVERY_S = 60.0
LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Where a run stands; recall is None until it was first measured.

    notes: sentences that people should hear now.
    """

    step: int
    steps: int
    loss: float
    pairs_per_second: float
    recall_at_1: float | None
    notes: Sequence[str] = ()


OnProgress = Callable[[TrainProgress], None]


@dataclass(frozen=True, slots=True)
class Work:
    """What a sitting works on: where it writes, what it learns from, and who watches."""

    run: RunFolder
    data: TrainingData
    trainer: Trainer
    observers: Sequence[Observer] = ()
    on_progress: OnProgress | None = None


class Session:
    """The steps from a first one to the last, or to an interruption.

    best: the best recall@1 of earlier sittings, -1 where there was none.
    """

    def __init__(self, work: Work, log: MetricsLog, best: float) -> None:
        self.work = work
        self.trainer = work.trainer
        self.settings = work.trainer.settings
        self.log = log
        self.best = best
        self.loss = float("nan")
        self.metrics: RetrievalMetrics | None = None
        self._saved_at = time.monotonic()
        self._logged_at = time.perf_counter()
        self._logged_step = 0

    def run_steps(self, first: int) -> None:
        """Train from `first` to the last step, measuring, logging and saving on the way."""
        with ExitStack() as stack:
            for observer in self.work.observers:
                stack.enter_context(_closed_at_the_end(observer))
            self._run_steps(first)

    def _run_steps(self, first: int) -> None:
        steps = self.settings.steps
        self._logged_step = first
        if first == 0:
            self._evaluate(0)
        with stop_between_steps() as stop:
            for step, batch in enumerate(self.work.data.batches.steps(first, steps), first):
                result = self.trainer.step(step, batch)
                self._after(step + 1, batch, result)
                if self.trainer.team.stop_asked(stop.asked):
                    self._save(step + 1)
                    raise Interrupted(
                        f"Interrupted after step {step + 1} of {steps}; the run is saved.",
                        mend=f"Go on with: {self.work.run.resume_command}",
                    )
        if first == steps:
            self._evaluate(steps, logged=True)
        self._save(steps)

    def _after(self, done: int, batch: Batch, result: StepResult) -> None:
        last = done == self.settings.steps
        for observer in self.work.observers:
            observer.on_step(done, batch, result)
        if done % LOG_EVERY == 0 or last:
            self._log(done, result)
        if self.settings.measures_after(done):
            self._evaluate(done)
        if time.monotonic() - self._saved_at > CHECKPOINT_EVERY_S:
            self._save(done)

    def _log(self, done: int, result: StepResult) -> None:
        self.loss = float(result.loss)
        if not math.isfinite(self.loss):
            raise _diverged(f"The loss is {self.loss}", done)
        row = self._row(done, result)
        self.log.write(done, row)
        notes = [observer.on_row(done, row) for observer in self.work.observers]
        if self.work.on_progress:
            recall = self.metrics.recall_at_1 if self.metrics else None
            steps, rate = self.settings.steps, row["pairs_per_second"]
            heard = tuple(note for note in notes if note)
            self.work.on_progress(TrainProgress(done, steps, self.loss, rate, recall, heard))

    def _row(self, done: int, result: StepResult) -> dict[str, float]:
        now = time.perf_counter()
        pairs = (done - self._logged_step) * self.work.data.batches.plan.batch_pairs
        pairs_per_second = pairs / (now - self._logged_at)
        self._logged_at, self._logged_step = now, done
        hard_ratio, rand_ratio = negative_ratios_at(done - 1, self.settings)
        return {
            "loss": self.loss,
            "rate": self.trainer.optimizer.param_groups[0]["lr"],
            "hard_ratio": hard_ratio,
            "rand_ratio": rand_ratio,
            "spread": spread(result.embeddings),
            "effective_rank": effective_rank(result.embeddings),
            "pairs_per_second": pairs_per_second,
        }

    def _evaluate(self, done: int, *, logged: bool = False) -> None:
        self._measure(done, logged=logged)
        self.trainer.team.wait()  # the other processes (toolkit.training.follow) are waiting
        self._logged_at = time.perf_counter()  # measuring is no part of the rate

    def _measure(self, done: int, *, logged: bool) -> None:
        evaluation = self.measure(self.trainer.result)
        if evaluation is None:
            return
        self.metrics = evaluation.metrics
        if not logged:  # the last checkpoint is written after the row that belongs to it
            self.log.write(done, self.metrics.as_json())
        for observer in self.work.observers:
            observer.on_evaluation(done, evaluation)
        if self.metrics.recall_at_1 > self.best:
            self.best = self.metrics.recall_at_1
            save_checkpoint(self._checkpoint(done), self.work.run.best)

    def measure(self, network: EmbeddingNetwork) -> Evaluation | None:
        """Recall on the held-out pairs; None where there are none to measure on."""
        if self.work.data.held_out is None:
            return None
        settings = self.settings
        card = ModelCard(
            settings.backbone, settings.embedding_dim, settings.preprocessing, "in training", {}
        )
        embedder = TorchEmbedder(network, card, self.trainer.device)
        return embed_and_evaluate(embedder, self.work.data.held_out)

    def _save(self, done: int) -> None:
        # The last good state is worth more than a newer one that cannot go on.
        if not all(bool(p.isfinite().all()) for p in self.trainer.network.parameters()):
            raise _diverged("The weights are no longer numbers", done)
        save_checkpoint(self._checkpoint(done), self.work.run.last)
        self._saved_at = time.monotonic()

    def _checkpoint(self, done: int) -> Checkpoint:
        return Checkpoint(
            step=done,
            best_recall=self.best,
            **self.trainer.state(),
            settings=self.settings.as_json(),
            data_digest=self.work.data.record.digest,
            torch_rng=torch.get_rng_state(),
        )


@contextmanager
def _closed_at_the_end(observer: Observer) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # What was raised before says more than what a full disk keeps from being closed.
        with suppress(StorageError):
            observer.close()
        raise
    observer.close()


def _diverged(what: str, step: int) -> TrainingError:
    return TrainingError(
        f"{what} at step {step}: the run has diverged.", mend="Start again with a lower --rate."
    )
