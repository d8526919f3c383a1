"""Pairs to batches. Which pairs a step sees is a function of (seed, step) alone.

So a run that is taken up again at step k goes on exactly as if it had never stopped,
whatever the number of workers.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from toolkit.errors import InputError
from toolkit.patches.relations import TrackSpans, different
from toolkit.patches.shards import StoredPair
from toolkit.preprocess import Preprocessing

CACHE_BYTES = 2 * 1024**3  # decoded patches are kept in memory up to this size


class PairDataset(Dataset[tuple[int, Tensor]]):
    """Pair i as (i, uint8 (2, height, width, 3)): its query and its positive, fitted."""

    def __init__(self, pairs: Sequence[StoredPair], preprocessing: Preprocessing) -> None:
        self.pairs = pairs
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, self.patches(index)

    def patches(self, index: int) -> Tensor:
        """Both patches of a pair, uint8 (2, height, width, 3). Raises ShardError, ImageError."""
        stored = self.pairs[index]
        patches = self.preprocessing.fit_batch([stored.read_query(), stored.read_positive()])
        return torch.from_numpy(patches)

    @property
    def bytes(self) -> int:
        """The size of all pairs in memory."""
        return len(self) * 2 * self.preprocessing.height * self.preprocessing.width * 3


class BatchPlan:
    """The pairs of each step: no pair twice an epoch, in an order drawn from the seed.

    What is left of an epoch when whole batches are taken sits out; each epoch other pairs.
    """

    def __init__(self, count: int, batch_pairs: int, seed: int) -> None:
        self.count = count
        self.batch_pairs = min(batch_pairs, count)
        self.seed = seed
        self._epoch = -1
        self._order: NDArray[np.int64] = np.arange(0)

    def pairs_of(self, step: int) -> NDArray[np.int64]:
        """The positions of the pairs of a step (0-based), (batch_pairs,)."""
        steps_an_epoch = self.count // self.batch_pairs
        epoch, place = divmod(step, steps_an_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
            self._epoch = epoch
        return self._order[place * self.batch_pairs : (place + 1) * self.batch_pairs]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step learns from: rows 2i and 2i+1 are pair i.

    images: uint8 (2P, height, width, 3); labels: (2P,), one number a track; negatives:
    boolean (P, 2P), which rows surely show something else than each pair.
    """

    images: Tensor
    labels: Tensor
    negatives: Tensor


class Batches:
    """The batches of a range of steps.

    Raises InputError when there are too few tracks for a negative to exist.
    """

    def __init__(self, dataset: PairDataset, plan: BatchPlan, workers: int) -> None:
        self._spans = TrackSpans.of([stored.pair for stored in dataset.pairs])
        tracks = len(set(self._spans.track.tolist()))
        if tracks < 2:
            raise InputError(
                f"There are {len(dataset)} training pairs of {tracks} tracks: a network needs "
                "at least 2 tracks to tell apart.",
                mend="Mine more video, or hold out a smaller part of it.",
            )
        self.plan = plan
        self._dataset = dataset
        self._workers = workers
        self._cache: Tensor | None = None
        if dataset.bytes <= CACHE_BYTES:
            self._cache = torch.stack([dataset.patches(i) for i in range(len(dataset))])

    def steps(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of the steps from start to stop."""
        # One step's pairs at a time: the published schedule has 20 million of them.
        chosen = (self.plan.pairs_of(step) for step in range(start, stop))
        for indices, patches in self._read(chosen):
            spans = self._spans.take(indices.numpy())
            labels = torch.from_numpy(spans.track.repeat(2))
            negatives = torch.from_numpy(different(spans).repeat(2, axis=1))
            yield Batch(patches.flatten(0, 1), labels, negatives)

    def _read(self, chosen: Iterator[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        if self._cache is not None:
            positions = map(torch.from_numpy, chosen)
            cache = self._cache
            return ((indices, cache[indices]) for indices in positions)
        return iter(
            DataLoader(
                self._dataset,
                batch_sampler=(indices.tolist() for indices in chosen),
                num_workers=self._workers,
                worker_init_fn=_ignore_interrupts,
            )
        )


def _ignore_interrupts(worker: int) -> None:  # noqa: ARG001 - DataLoader's shape
    """Ctrl-C reaches the whole process group; only the main process may decide to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def mean_image(dataset: PairDataset, most: int = 2000) -> NDArray[np.float32]:
    """The mean of up to `most` pairs spread over the data, (height, width, 3) of 0..255."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).astype(int))
    total = sum(dataset.patches(int(i)).double().mean(0) for i in chosen)
    assert isinstance(total, Tensor)
    mean: NDArray[np.float32] = (total / len(chosen)).float().numpy()
    return mean
