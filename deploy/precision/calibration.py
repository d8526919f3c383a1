"""The pictures that ranges for int8 are taken from: the user's own, that the run trained on."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import InputError, MismatchError
from toolkit.model_card import ModelCard
from toolkit.patches.relations import followed_as
from toolkit.patches.shards import StoredPair, read_pairs
from toolkit.training.held_out import patches_folder
from toolkit.training.run_folder import RunFolder

# A quarter of them judges: of 8 patches the nearest ones can still be told from the others.
LEAST_PATCHES = 32
MOST_PATCHES = 512


@dataclass(frozen=True, slots=True)
class Calibration:
    """uint8 RGB (N, height, width, 3) of the network's input size, and their SHA-256."""

    images: NDArray[np.uint8]
    sha256: str

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> "Calibration":
        """With the hash over the shape and all pixels."""
        digest = hashlib.sha256(str(images.shape).encode())
        digest.update(images.tobytes())
        return cls(images, digest.hexdigest())


def check_enough(patches: int, least: int = LEAST_PATCHES) -> None:
    """Raise InputError for fewer patches than that."""
    if patches < least:
        raise InputError(
            f"Ranges have to be taken from {least} patches at least, and there are {patches}.",
            mend="Mine more video, or choose a wider --precision: fp32 needs no patches.",
        )


def calibration_patches(
    run: RunFolder,
    card: ModelCard,
    patches: Path | None = None,
    count: int = MOST_PATCHES,
    least: int = LEAST_PATCHES,
) -> Calibration:
    """Up to `count` patches that the run trained on, the same ones each time.

    They are spread over the videos, over the tracks of each, and over each track's time; no
    held-out pair is among them. An imported network trained on none of the pairs here, and
    any may be taken. patches: where the shards lie now, if they were moved.

    Raises MismatchError where they are not the run's, InputError where there are fewer than
    `least`, ShardError or ImageError where they cannot be read.
    """
    chosen = spread_pairs(_trained_on(run, patches))[:count]
    check_enough(min(count, 2 * len(chosen)), least)
    images = [stored.read_query() for stored in chosen]
    # Where the pairs are few, their other patches are of use too.
    images += [stored.read_positive() for stored in chosen[: count - len(images)]]
    return Calibration.of(card.preprocessing.fit_batch(images))


def _trained_on(run: RunFolder, patches: Path | None) -> list[StoredPair]:
    record = run.read_data()
    folder = patches_folder(run, patches)
    held_out = set(record.held_out)
    pairs = [stored for stored in read_pairs(folder) if stored.pair.key not in held_out]
    if len(pairs) < record.train_pairs:
        raise MismatchError(
            f"{run.path} was trained on {record.train_pairs} pairs, and {folder} holds only "
            f"{len(pairs)} of them.",
            mend="Give the patches that the run was trained on with --patches.",
        )
    return pairs


def spread_pairs(pairs: Sequence[StoredPair]) -> list[StoredPair]:
    """All of the pairs, in an order of which every beginning is spread as far as can be.

    Videos take turns, in each of them its tracks, and in each track first its beginning, then
    its end, then what lies between, always in the middle of the longest gap.
    """
    videos: dict[str, dict[str, list[StoredPair]]] = defaultdict(lambda: defaultdict(list))
    for stored in sorted(pairs, key=lambda stored: (stored.pair.query.time_s, stored.pair.key)):
        videos[stored.pair.video][followed_as(stored.pair.track)].append(stored)
    return _take_turns(
        [
            _take_turns([_coarse_to_fine(track) for _, track in sorted(tracks.items())])
            for _, tracks in sorted(videos.items())
        ]
    )


def _take_turns(queues: Sequence[Sequence[StoredPair]]) -> list[StoredPair]:
    turns = chain.from_iterable(zip_longest(*queues))
    return [stored for stored in turns if stored is not None]


def _coarse_to_fine(track: Sequence[StoredPair]) -> list[StoredPair]:
    order = dict.fromkeys((0, len(track) - 1))
    step = float(len(track) - 1)
    while len(order) < len(track):
        order |= dict.fromkeys(round(place) for place in np.arange(0, len(track) - 0.5, step))
        step = max(step / 2, 1)
    return [track[place] for place in order]
