"""A classifier on labelled pictures that it has not learned from."""

from dataclasses import dataclass

import numpy as np

from toolkit.embedding import Embeddings
from toolkit.errors import InputError
from toolkit.evaluation.labelled import LabelledPictures
from toolkit.transfer.confusion import Measured
from toolkit.transfer.head import ClassifierHead
from toolkit.transfer.run import TransferFolder


@dataclass(frozen=True, slots=True)
class Judged:
    """What a classifier reaches.

    learned: how many pictures it, or one that is alike, learned from; unknown: the classes
    here that it has no name for. The pictures of neither count.
    """

    measured: Measured
    learned: int
    unknown: tuple[str, ...]


def judge(
    run: TransferFolder, fingerprint: str, pictures: LabelledPictures, vectors: Embeddings
) -> Judged:
    """Name the pictures by their vectors (N, dim), those of the run's network.

    A class is known by its name. Raises InputError where no picture is left, MismatchError.
    """
    head = ClassifierHead.read(run.path, fingerprint, vectors.shape[1])
    learned = {seen.sha256 for seen in run.read_labels().pictures if not seen.held_out}
    seen = np.array([sha256 in learned for sha256 in pictures.sha256])
    seen = np.isin(pictures.groups, pictures.groups[seen])
    place = {name: place for place, name in enumerate(head.classes)}
    unknown = tuple(name for name in pictures.classes if name not in place)
    labels = np.array([place.get(name, -1) for name in pictures.classes])[pictures.labels]
    fresh = np.flatnonzero(~seen & (labels >= 0))
    if not len(fresh):
        raise InputError(
            f"No picture is left to measure the classes of {run.path} on: it learned from "
            f"{seen.sum()} of {len(seen)}, and the others are of classes that it does not know.",
            mend=f"Give other pictures, of: {', '.join(head.classes[:8])}.",
        )
    measured = Measured(head.probabilities(vectors[fresh]), labels[fresh], pictures.groups[fresh])
    return Judged(measured, int(seen.sum()), unknown)
