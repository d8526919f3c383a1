"""Training on real shards beside the same steps on tensors in memory.

    python benchmarks/training_speed.py SHARDS       # a folder of pair shards
    python benchmarks/training_speed.py              # mines vtest.avi first

The same `Trainer.step` on the same pairs, on the processor. "in memory": the batches were made
before. "kept": the reader has all decoded patches, as after the first epoch. "read": the reader
keeps none, as with data far beyond its limit, by so many threads that read ahead. The ways take
turns; each turn begins with a batch at hand and the threads at work on the next, as in the
middle of a run. A ratio is the median over the turns of a way's pairs a second over those of
"in memory" in the same turn.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from footage import vtest
from machine import describe

from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.run import mine
from toolkit.networks.backbones import backbone_defaults
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.patches.shards import StoredPair, find_shards, read_pairs
from toolkit.training import batches as reading
from toolkit.training.batches import Batch, Batches, PairDataset
from toolkit.training.sampling import BatchPlan
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

MINED = Path(tempfile.gettempdir()) / "vr-footage" / "vtest-patches"
IN_MEMORY = "in memory"
THREADS = (0, 1, 2)

Way = Callable[[int, int], Iterator[Batch]]  # the batches of some steps, from first to stop


@dataclass(frozen=True)
class Case:
    """A recipe with some settings, how many turns each way takes and the steps of a turn."""

    name: str
    recipe: str
    changes: Mapping[str, Any]
    turns: int
    steps: int

    @property
    def settings(self) -> TrainSettings:
        return TrainSettings.from_recipe(self.recipe, self.changes)


CASES = (
    Case("modern, 96 px", "modern", {"size": 96}, turns=5, steps=4),
    Case("modern, 227 px", "modern", {"size": 227}, turns=3, steps=1),
    Case("wang2015 (AlexNet), 227 px", "wang2015", {}, turns=3, steps=1),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shards", type=Path, nargs="?", help="a folder of pair shards")
    parser.add_argument("--video", type=Path, help="vtest.avi, where it is not to be fetched")
    parser.add_argument("--quick", action="store_true", help="one turn of one step: a try")
    options = parser.parse_args()
    pairs = read_pairs(options.shards or mined(options.video))
    print(describe(), end="\n\n")
    print(f"{len(pairs)} pairs, {torch.get_num_threads()} threads of torch.\n")
    names = [IN_MEMORY, "kept", *(f"read, {count} threads" for count in THREADS)]
    head = ["training", "pairs a batch", f"{IN_MEMORY}, pairs/s", *(f"{n} / it" for n in names[1:])]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for case in CASES:
        turns, steps = (1, 1) if options.quick else (case.turns, case.steps)
        rates = in_turns(case.settings, pairs, turns, steps)
        cells = [case.name, str(case.settings.batch_pairs)]
        cells += [f"{statistics.median(rates[IN_MEMORY]):.1f}"]
        for name in names[1:]:
            ratios = [a / b for a, b in zip(rates[name], rates[IN_MEMORY], strict=True)]
            cells.append(f"{statistics.median(ratios):.3f}")
        print(f"| {' | '.join(cells)} |", flush=True)


def mined(video: Path | None) -> Path:
    """The pairs of vtest.avi, mined once."""
    if not find_shards(MINED):
        mine([vtest(video)], MINED, MiningSettings())
    return MINED


def in_turns(
    settings: TrainSettings, pairs: Sequence[StoredPair], turns: int, steps: int
) -> dict[str, list[float]]:
    """The pairs a second of each way in each turn; one turn of each does not count."""
    trainer = new_trainer(settings)
    ways = ways_of(settings, pairs, turns * steps + steps + 1)
    rates: dict[str, list[float]] = defaultdict(list)
    for turn in range(turns + 1):
        first = turn * steps
        for name, way in ways.items():
            rate = pairs_per_second(trainer, way(first, first + steps + 1), steps)
            if turn:
                rates[name].append(rate)
    return rates


def ways_of(settings: TrainSettings, pairs: Sequence[StoredPair], steps: int) -> dict[str, Way]:
    """The ways to come by the batches of the first steps."""

    def reader(threads: int) -> Batches:
        plan = BatchPlan([stored.pair for stored in pairs], settings)
        return Batches(PairDataset(pairs, settings.preprocessing), plan, threads)

    kept = reader(0)
    # A few are enough, and all of them might not fit; making them also fills what is kept.
    held = list(kept.steps(0, steps))[:8]
    ways: dict[str, Way] = {
        IN_MEMORY: lambda first, stop: (
            batch for batch, _ in zip(cycle(held), range(first, stop), strict=False)
        ),
        "kept": kept.steps,
    }
    with keeping(0):
        for threads in THREADS:
            ways[f"read, {threads} threads"] = reader(threads).steps
    return ways


@contextmanager
def keeping(limit_bytes: int) -> Iterator[None]:
    """Readers made here keep that much."""
    before, reading.CACHE_BYTES = reading.CACHE_BYTES, limit_bytes
    try:
        yield
    finally:
        reading.CACHE_BYTES = before


def new_trainer(settings: TrainSettings) -> Trainer:
    """A fresh network of the recipe and its optimizer."""
    network = EmbeddingNetwork(
        settings.backbone,
        settings.preprocessing,
        settings.embedding_dim,
        mean_image=backbone_defaults(settings.backbone).mean_image,
    )
    return Trainer(network, settings, "cpu")


def pairs_per_second(trainer: Trainer, batches: Iterator[Batch], steps: int) -> float:
    """Over some steps, each with the wait for its successor's batch."""
    batch = next(batches)
    begun = time.perf_counter()
    for step in range(steps):
        trainer.step(step, batch)
        batch = next(batches)
    seconds = time.perf_counter() - begun
    if hasattr(batches, "close"):
        batches.close()  # its threads would run into the next way's time
    return steps * len(batch.labels) / 2 / seconds


if __name__ == "__main__":
    main()
