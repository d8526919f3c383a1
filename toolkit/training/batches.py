"""Pairs to batches. Which patches a step sees is a function of (seed, step) alone.

So a run that is taken up again at step k goes on exactly as if it had never stopped,
whatever the number of workers.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import InputError
from toolkit.patches.shards import StoredPair
from toolkit.preprocess import Preprocessing
from toolkit.training.reading import read_patch
from toolkit.training.sampling import BatchPlan, Numbers

CACHE_BYTES = 2 * 1024**3  # of decoded patches that the processes of a run keep in memory


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of each batch a process reads: that of `rank`, of `world` equal ones."""

    rank: int = 0
    world: int = 1

    def of(self, pairs: int) -> slice:
        """The pairs of a batch that are its own; the first shares get what is left over."""
        size, left = divmod(pairs, self.world)
        first = self.rank * size + min(self.rank, left)
        return slice(first, first + size + (self.rank < left))


ALL = Share()


class PairDataset:
    """The patches of pairs at the input size: 2i is the query of pair i, 2i+1 its positive."""

    def __init__(self, pairs: Sequence[StoredPair], preprocessing: Preprocessing) -> None:
        self.pairs = pairs
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.pairs)

    def patch(self, number: int) -> NDArray[np.uint8]:
        """A patch by its number, (height, width, 3) RGB. Raises ShardError, ImageError."""
        part = "positive.jpg" if number % 2 else "query.jpg"
        return read_patch(self.pairs[number // 2], part, self.preprocessing)

    def patches(self, index: int) -> Tensor:
        """Both patches of a pair, uint8 (2, height, width, 3). Raises ShardError, ImageError."""
        return torch.from_numpy(np.stack([self.patch(2 * index), self.patch(2 * index + 1)]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a patch: (height, width, 3)."""
        return self.preprocessing.height, self.preprocessing.width, 3


class PatchCache:
    """Decoded patches, kept from their first use on, as many as fit into the limit."""

    def __init__(self, dataset: PairDataset, limit_bytes: int) -> None:
        self._dataset = dataset
        fitting = limit_bytes // int(np.prod(dataset.shape))
        # The system gives memory to the rows as they are written.
        self._kept = np.empty((min(2 * len(dataset), fitting), *dataset.shape), np.uint8)
        self._filled = np.zeros(len(self._kept), np.bool_)

    def take(self, numbers: Numbers) -> NDArray[np.uint8]:
        """The patches of the numbers (N,), uint8 (N, height, width, 3), from any thread."""
        kept = numbers < len(self._kept)
        wanted = numbers[kept]
        for number in wanted[~self._filled[wanted]].tolist():
            self._kept[number] = self._dataset.patch(number)
            self._filled[number] = True  # after the patch: other threads look at this
        if kept.all():
            return self._kept.take(numbers, axis=0)
        patches = np.empty((len(numbers), *self._dataset.shape), np.uint8)
        patches[kept] = self._kept.take(wanted, axis=0)
        for row in np.flatnonzero(~kept).tolist():
            patches[row] = self._dataset.patch(int(numbers[row]))
        return patches


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step learns from: rows 2i and 2i+1 are pair i.

    images: uint8 (2L, height, width, 3), the rows that are this process's own, from
    `first_row` on. Of all P pairs of the step: labels (2P,), one number a track; negatives,
    boolean (P, 2P), which rows may be negatives of each pair: those of other tracks, or with
    the setting known_negatives only those that surely show something else.
    """

    images: Tensor
    labels: Tensor
    negatives: Tensor
    first_row: int = 0


class Batches:
    """The batches of a range of steps, of which a process reads its share.

    workers: threads that read ahead, each a batch; with 0, a batch is read when it is asked
    for. pin: put the tensors where a GPU can fetch them by itself. Raises InputError when
    there are too few tracks for a negative to exist, or too few pairs for every share.
    """

    def __init__(
        self,
        dataset: PairDataset,
        plan: BatchPlan,
        workers: int,
        share: Share = ALL,
        *,
        pin: bool = False,
    ) -> None:
        tracks = len(set(plan.table.spans.track.tolist()))
        if tracks < 2:
            raise InputError(
                f"There are {len(dataset)} training pairs of {tracks} tracks: a network needs "
                "at least 2 tracks to tell apart.",
                mend="Mine more video, or hold out a smaller part of it.",
            )
        if plan.batch_pairs < share.world:
            raise InputError(
                f"There are {len(dataset)} training pairs for {share.world} processes: each "
                "needs at least one in every batch.",
                mend="Use fewer processes, or mine more video.",
            )
        self.plan = plan
        self._workers = workers
        self._share = share
        self._pin = pin
        self._cache = PatchCache(dataset, CACHE_BYTES // share.world)

    def steps(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of the steps from start to stop. Raises ShardError, ImageError."""
        # One step's patches at a time: the published schedule has 40 million of them.
        chosen = map(self.plan.picks_of, range(start, stop))
        return self._read_ahead(chosen) if self._workers else map(self._batch, chosen)

    def _read_ahead(self, chosen: Iterator[Numbers]) -> Iterator[Batch]:
        with ThreadPoolExecutor(self._workers, thread_name_prefix="vr-batch") as pool:
            try:
                begun = (pool.submit(self._batch, picks) for picks in chosen)
                waiting: deque[Future[Batch]] = deque(islice(begun, self._workers))
                while waiting:
                    batch = waiting.popleft().result()
                    waiting.extend(islice(begun, 1))
                    yield batch
            finally:
                pool.shutdown(cancel_futures=True)

    def _batch(self, picks: Numbers) -> Batch:
        spans = self.plan.table.spans_of(picks)
        own = self._share.of(len(picks))
        images = self._cache.take(picks[own].reshape(-1))
        labels = spans.track.repeat(2)
        negatives = self.plan.negatives_of(spans).repeat(2, axis=1)
        return Batch(
            self._tensor(images), self._tensor(labels), self._tensor(negatives), 2 * own.start
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self._pin else tensor


def mean_image(dataset: PairDataset, most: int = 2000) -> NDArray[np.float32]:
    """The mean of up to `most` pairs spread over the data, (height, width, 3) of 0..255."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).astype(int))
    total = sum(dataset.patches(int(i)).double().mean(0) for i in chosen)
    assert isinstance(total, Tensor)
    mean: NDArray[np.float32] = (total / len(chosen)).float().numpy()
    return mean
