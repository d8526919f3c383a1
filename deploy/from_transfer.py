"""From a run of `vr transfer` to its bundle: an embedding network that names classes too."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.export import Evidence, ExportReport, check_target, export_bundle
from deploy.onnx.resize import check_size
from deploy.proof.proof_set import most_pairs
from deploy.settings import ExportSettings
from toolkit.errors import MismatchError, UsageError
from toolkit.images import decode_image
from toolkit.preprocess import Preprocessing
from toolkit.transfer.head import ClassifierHead
from toolkit.transfer.run import SeenPicture, TransferFolder

if TYPE_CHECKING:
    from deploy.precision import Calibration

_CALIBRATED, _LOOKED_AT = 512, 64

Pair = tuple[SeenPicture, SeenPicture]


def export_transfer(
    run: Path,
    out: Path,
    settings: ExportSettings,
    labels: Path | None = None,
    progress: Any = None,
) -> ExportReport:
    """Export a classifier to the bundle `out`, proven on the pictures that it held out.

    Two pictures of a class take the place of a pair. labels: where the labelled pictures lie
    now, if they were moved. Raises what export_bundle does, UsageError for a run that is not
    finished, MismatchError where its pictures are gone or others.
    """
    check_target(out)
    folder = TransferFolder.open(run)
    if not folder.is_finished:
        raise UsageError(
            f"The run {folder.path} is not finished.",
            mend=f"Go on with: {folder.resume_command}",
        )
    card = check_size(folder.path, settings.size)
    head = ClassifierHead.read(folder.path, card.fingerprint, card.dim)
    record = folder.read_labels()
    root = folder.find_labels(record.root, labels)
    reader = _Reader(root if root.is_dir() else root.parent, card.preprocessing)
    pairs = _thinned(pairs_of_class(record.pictures), most_pairs(card.preprocessing))
    named = [[pair[side].label for pair in pairs] for side in (0, 1)]
    evidence = Evidence(
        np.array(named[0], np.int64),
        _calibration(settings, reader, record.pictures),
        progress,
        (head, np.array(named[0] + named[1], np.int64)),
    )
    queries, positives = (reader.read([pair[side] for pair in pairs]) for side in (0, 1))
    return export_bundle(folder.path, out, queries, positives, settings, evidence)


def pairs_of_class(pictures: Sequence[SeenPicture]) -> list[Pair]:
    """Held-out pictures, two of a class at a time, each once but for the last of an odd class.

    A class with one held-out picture pairs it with itself.
    """
    classes: dict[int, list[SeenPicture]] = defaultdict(list)
    for seen in sorted(pictures, key=lambda seen: (seen.label, seen.sha256, seen.path)):
        if seen.held_out:
            classes[seen.label].append(seen)
    return [
        (own[place], own[(place + 1) % len(own)])
        for own in classes.values()
        for place in range(0, len(own), 2)
    ]


def _thinned(pairs: list[Pair], most: int) -> list[Pair]:
    count = min(most, len(pairs))
    return [pairs[place * len(pairs) // count] for place in range(count)]


def _calibration(
    settings: ExportSettings, reader: "_Reader", pictures: Sequence[SeenPicture]
) -> "Calibration | None":
    """Pictures that it learned from, for what the precision has to know."""
    if settings.precision == "fp32":
        return None
    from deploy.precision import Calibration

    learned = [seen for seen in pictures if not seen.held_out]
    most = _CALIBRATED if settings.precision == "int8" else _LOOKED_AT
    count = min(most, len(learned))
    chosen = [learned[place * len(learned) // count] for place in range(count)]
    return Calibration.of(reader.read(chosen))


class _Reader:
    """Reads pictures at the input size, and refuses others than those that were seen."""

    def __init__(self, root: Path, preprocessing: Preprocessing) -> None:
        self._root = root
        self._preprocessing = preprocessing

    def read(self, pictures: Sequence[SeenPicture]) -> NDArray[np.uint8]:
        """uint8 RGB (N, height, width, 3). Raises MismatchError, ImageError."""
        return np.stack([self._read(seen) for seen in pictures])

    def _read(self, seen: SeenPicture) -> NDArray[np.uint8]:
        path = self._root / seen.path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MismatchError(
                f"A picture that the run was made with cannot be read: {path}: {error.strerror}.",
                mend="Say where the labelled pictures are now with --patches.",
            ) from error
        if hashlib.sha256(content).hexdigest() != seen.sha256:
            raise MismatchError(
                f"{path} is not the picture that the run was made with.",
                mend="Bring the old pictures back, or run `vr transfer` again.",
            )
        return self._preprocessing.fit(decode_image(content, name=str(path)))
