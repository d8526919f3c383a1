"""Who watches a run: the alarm, the pictures in TensorBoard, and the page beside the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.baselines import BASELINES, Feature
from toolkit.evaluation.evaluate import Evaluation, HeldOutPatches
from toolkit.evaluation.retrieval import retrieval_metrics
from toolkit.images import RgbImage
from toolkit.training.batches import Batch
from toolkit.training.metrics import MetricsLog
from toolkit.training.observers import Observer
from toolkit.training.prepare import TrainingData
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import StepResult
from toolkit.training.watch.alarm import CollapseAlarm
from toolkit.training.watch.neighbours import Example, find_examples
from toolkit.training.watch.page import (
    FILE_NAME,
    FINISHED,
    STOPPED,
    TRAINING,
    Story,
    write_page,
)
from toolkit.training.watch.sheets import hardest_sheet, neighbour_sheet, pair_sheet

MOST_SHEETS = 30  # of each kind in a run: TensorBoard keeps every picture on the disk
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Watched:
    """The run that is watched."""

    run: RunFolder
    data: TrainingData
    settings: TrainSettings
    log: MetricsLog


class RunWatcher(Observer):
    """Watches one sitting of a run. Made once the log is open, whose kept rows it reads."""

    def __init__(self, watched: Watched, first: int) -> None:
        self._watched = watched
        self._settings = watched.settings
        self._alarm = CollapseAlarm(
            watched.settings,
            watched.data.batches.plan.batch_pairs,
            watched.run.read_metrics(),
        )
        self._done = first
        self._seen: tuple[Batch, StepResult] | None = None
        self._examples: Sequence[Example] = ()
        self._baselines: dict[str, float] | None = None

    def on_step(self, done: int, batch: Batch, result: StepResult) -> None:
        """Keep what a measurement of this step will show."""
        self._done = done
        if self._settings.measures_after(done):
            self._seen = (batch, result)
            if self._watched.data.held_out is None:
                self._show_batch(done)
                self._write(TRAINING)

    def on_row(self, done: int, row: Mapping[str, float]) -> str:
        """Ask the alarm; what it says goes into the log and onto the page at once."""
        said = self._alarm.feed(done, row)
        if said is None:
            return ""
        self._watched.log.note(done, said.name, said.text)
        self._write(TRAINING)
        return said.text

    def on_evaluation(self, done: int, evaluation: Evaluation) -> None:
        """Pictures for TensorBoard, and the page anew."""
        self._done = done
        held_out = self._watched.data.held_out
        assert held_out is not None
        tracks = [pair.track for pair in held_out.records]
        self._examples = find_examples(
            evaluation.queries, evaluation.positives, held_out.gallery, tracks
        )
        self._show_batch(done)
        if self._shows_at(done) and self._examples:
            self._add("held_out_neighbours", neighbour_sheet(held_out, self._examples), done)
            deviations = evaluation.queries.std(0)
            if np.isfinite(deviations).all():
                self._watched.log.board.add_histogram("embedding_deviations", deviations, done)
        if done < self._settings.steps:
            self._write(TRAINING)

    def close(self) -> None:
        """The page as it stays."""
        self._write(FINISHED if self._done >= self._settings.steps else STOPPED)

    def _shows_at(self, done: int) -> bool:
        number = done // self._settings.evaluate_every
        all_of_them = self._settings.steps // self._settings.evaluate_every
        return number % (1 + all_of_them // MOST_SHEETS) == 0 or done == self._settings.steps

    def _show_batch(self, done: int) -> None:
        if self._seen is None:
            return
        (batch, result), self._seen = self._seen, None
        if not self._shows_at(done):
            return
        rows = slice(batch.first_row, batch.first_row + len(result.pixels))
        self._add("pairs", pair_sheet(result.pixels), done)
        negatives = batch.negatives[rows.start // 2 : rows.stop // 2, rows]
        hardest = hardest_sheet(result.pixels, result.embeddings[rows], negatives)
        if hardest is not None:
            self._add("hardest_negatives", hardest, done)

    def _add(self, tag: str, picture: RgbImage, done: int) -> None:
        self._watched.log.board.add_image(tag, picture, done)

    def _write(self, state: str) -> None:
        held_out = self._watched.data.held_out
        if self._baselines is None:
            self._baselines = baseline_recalls(held_out) if held_out else {}
        run = self._watched.run
        story = Story(
            name=run.path.name,
            settings=self._settings,
            data=self._watched.data.record,
            rows=run.read_metrics(),
            state=state,
            step=self._done,
            baselines=self._baselines,
            resume=run.resume_command,
        )
        write_page(run.path / FILE_NAME, story, held_out, self._examples)


def baseline_recalls(held_out: HeldOutPatches) -> dict[str, float]:
    """Recall@1 of the features that need no training; a few patches are worked on at a time."""
    recalls = {}
    for name, feature in BASELINES.items():
        queries = _in_chunks(feature, held_out.queries)
        positives = _in_chunks(feature, held_out.positives)
        metrics = retrieval_metrics(queries, positives, held_out.gallery)
        recalls[name] = metrics.recall_at_1
    return recalls


def _in_chunks(feature: Feature, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    starts = range(0, len(patches), _CHUNK)
    return np.concatenate([feature(patches[start : start + _CHUNK]) for start in starts])
