"""One sitting of a transfer: its steps, and what is logged, measured and saved on the way."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from toolkit.errors import Interrupted, TrainingError
from toolkit.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from toolkit.training.interrupt import stop_between_steps
from toolkit.training.metrics import MetricsLog
from toolkit.transfer.confusion import Measured
from toolkit.transfer.pictures import PictureStore
from toolkit.transfer.run import TransferFolder
from toolkit.transfer.settings import TransferSettings
from toolkit.transfer.trainer import TransferTrainer, picks

CHECKPOINT_EVERY_S = 60.0
LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """Where a transfer stands; accuracy: on the held-out pictures, when last measured."""

    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on. picture: told how many pictures are read, of how many."""

    picture: Callable[[int, int], None] = lambda *_: None
    step: Callable[[TransferProgress], None] = lambda _: None


NOBODY = Watch()


class Sitting:
    """The steps from a first one to the last, or to an interruption."""

    def __init__(
        self,
        run: TransferFolder,
        store: PictureStore,
        trainer: TransferTrainer,
        watch: Watch = NOBODY,
    ) -> None:
        self._run = run
        self._store = store
        self._trainer = trainer
        self._watch = watch
        self._settings: TransferSettings = trainer.settings
        self._rows = store.split.train
        self._epoch_steps, self.steps = self._settings.steps_of(len(self._rows))
        self._best = -1.0
        self._accuracy = 0.0
        self._saved_at = time.monotonic()
        self._digest = store.digest()

    def restore(self) -> int:
        """Load the last checkpoint; the step to go on from. Raises MismatchError."""
        checkpoint = load_checkpoint(self._run.run.last)
        self._trainer.load_state(checkpoint.model, checkpoint.optimizer)
        torch.set_rng_state(checkpoint.torch_rng)
        self._best = self._accuracy = checkpoint.best_recall
        return checkpoint.step

    def run_steps(self, first: int) -> None:
        """Learn from `first` to the last step. Raises Interrupted, TrainingError, StorageError."""
        if first == 0:  # begun before and killed before its first checkpoint
            self._run.run.metrics.unlink(missing_ok=True)
        batches = picks(self._rows, self._settings.batch, self._settings.seed, first)
        with MetricsLog(self._run.run, from_step=first) as log, stop_between_steps() as stop:
            if first == 0:
                self._measure(0, log)
            begun = time.perf_counter()
            for step, rows in zip(range(first, self.steps), batches, strict=False):
                labels = self._store.pictures.labels[rows]
                loss = self._trainer.step(step, self._store.take(rows), labels)
                done = step + 1
                if done % LOG_EVERY == 0 or done == self.steps:
                    rate = (done - first) * len(rows) / (time.perf_counter() - begun)
                    self._log(done, float(loss), rate, log)
                self._after(done, log)
                if stop.asked and done < self.steps:
                    self._save(done)
                    raise Interrupted(
                        f"Interrupted after step {done} of {self.steps}; the run is saved.",
                        mend=f"Go on with: {self._run.resume_command}",
                    )

    def keep_best(self) -> tuple[Measured, int]:
        """Put the best state back: what it reaches, and after how many steps it was."""
        checkpoint = load_checkpoint(self._run.run.best)
        self._trainer.load_state(checkpoint.model)
        return self._measured(), checkpoint.step

    def _after(self, done: int, log: MetricsLog) -> None:
        if done % self._epoch_steps == 0 or done == self.steps:
            self._measure(done, log)
        if done == self.steps or time.monotonic() - self._saved_at > CHECKPOINT_EVERY_S:
            self._save(done)

    def _log(self, done: int, loss: float, pictures_per_second: float, log: MetricsLog) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at step {done}: the run has diverged.",
                mend="Start again with a lower --rate.",
            )
        rate = self._trainer.optimizer.param_groups[-1]["lr"]
        row = {"loss": loss, "rate": rate, "pictures_per_second": pictures_per_second}
        log.write(done, row)
        self._watch.step(TransferProgress(done, self.steps, loss, self._accuracy))

    def _measure(self, done: int, log: MetricsLog) -> None:
        measured = self._measured()
        self._accuracy = measured.right
        row = {
            "accuracy": measured.right,
            "class_mean": measured.class_mean,
            "held_out_loss": measured.loss,
        }
        log.write(done, row)
        if measured.right > self._best:
            self._best = measured.right
            save_checkpoint(self._checkpoint(done), self._run.run.best)

    def _measured(self) -> Measured:
        rows, pictures = self._store.split.test, self._store.pictures
        found = self._trainer.probabilities(self._store, rows)
        return Measured(found, pictures.labels[rows], pictures.groups[rows])

    def _save(self, done: int) -> None:
        save_checkpoint(self._checkpoint(done), self._run.run.last)
        self._saved_at = time.monotonic()

    def _checkpoint(self, done: int) -> Checkpoint:
        return Checkpoint(
            step=done,
            best_recall=self._best,
            **self._trainer.state(),
            ema={},
            settings=self._settings.as_json(),
            data_digest=self._digest,
            torch_rng=torch.get_rng_state(),
        )
