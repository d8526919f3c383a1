"""Those who watch a run: they see every step and change none."""

from collections.abc import Mapping

from toolkit.evaluation.evaluate import Evaluation
from toolkit.training.batches import Batch
from toolkit.training.step import StepResult


class Observer:
    """Override what is of interest. Steps are counted from 1 here: `done` of them are done.

    What is handed over is only to be looked at: nothing may be drawn from torch's global
    generator, and no tensor may be changed.
    """

    def on_step(self, done: int, batch: Batch, result: StepResult) -> None:
        """After each step. To ask a tensor for its value here makes the step wait for it."""

    def on_row(self, done: int, row: Mapping[str, float]) -> str:  # noqa: ARG002 - a default
        """After a row of metrics.jsonl; a sentence that people should hear now, or ""."""
        return ""

    def on_evaluation(self, done: int, evaluation: Evaluation) -> None:
        """After a measurement on the held-out pairs."""

    def close(self) -> None:
        """The run ended or was interrupted; also called when it failed."""
