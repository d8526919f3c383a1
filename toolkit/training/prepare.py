"""Before the first step: read the pairs, split them, load what is measured on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from toolkit.errors import InputError, TooFewHeldOutError
from toolkit.evaluation.evaluate import HeldOutPatches, load_held_out
from toolkit.patches.shards import StoredPair, read_pairs
from toolkit.patches.split import Split, SplitBy, split_pairs
from toolkit.training.batches import ALL, Batches, PairDataset, Share
from toolkit.training.run_folder import DataRecord
from toolkit.training.sampling import BatchPlan
from toolkit.training.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What the loop works on; held_out is None where there is nothing to measure on."""

    dataset: PairDataset
    batches: Batches
    held_out: HeldOutPatches | None
    record: DataRecord


def prepare_data(
    patches: Path,
    settings: TrainSettings,
    workers: int,
    share: Share = ALL,
    *,
    pin: bool = False,
) -> TrainingData:
    """Read and split the pairs of a folder of shards; workers, share and pin as in Batches.

    What is measured on is loaded for the first share only. Raises InputError when there are
    none or too few, ShardError for a damaged shard.
    """
    pairs = read_pairs(patches)
    if not pairs:
        raise InputError(
            f"There are no mined pairs in {patches}.",
            mend="Mine some video first: vr mine FOLDER_OF_VIDEO",
        )
    split = split_pairs(pairs, cast(SplitBy, settings.split), settings.held_out)
    dataset = PairDataset(split.train, settings.preprocessing)
    plan = BatchPlan([stored.pair for stored in split.train], settings)
    record = DataRecord(
        patches=str(patches),
        digest=_digest(split),
        train_pairs=len(split.train),
        held_out=tuple(stored.pair.key for stored in split.held_out),
    )
    held_out = _measurable(split.held_out, settings) if share.rank == 0 else None
    return TrainingData(dataset, Batches(dataset, plan, workers, share, pin=pin), held_out, record)


def _measurable(held_out: Sequence[StoredPair], settings: TrainSettings) -> HeldOutPatches | None:
    """The held-out patches, or None when too little was held out to measure recall."""
    try:
        return load_held_out(held_out, settings.preprocessing)
    except TooFewHeldOutError:
        return None


def _digest(split: Split) -> str:
    """SHA-256 over each pair's record, JPEG sizes and side: other data is another run."""
    digest = hashlib.sha256()
    for side in (split.train, split.held_out):
        for stored in side:
            sizes = f"{stored.query.size} {stored.positive.size}"
            record = json.dumps(stored.pair.as_json())
            digest.update(f"{stored.pair.key} {sizes} {record}\n".encode())
        digest.update(b"--\n")
    return digest.hexdigest()
