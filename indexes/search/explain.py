"""Where a patch of an index comes from: vector, model, run, file, moment, track, labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from indexes.catalog.schema import COUNTS
from indexes.folder.store import FolderStore
from indexes.records import Place, Segment
from toolkit.model_card import ModelCard
from toolkit.video.find import is_special
from toolkit.workspace import sha256_file

State = Literal["same", "changed", "missing", "unknown"]

_INPUT = """
SELECT inputs.path, inputs.sha256, inputs.kind, inputs.reading,
       sources.path, sources.sha256, sources.kind, sources.camera
FROM patches JOIN inputs ON inputs.id = patches.input JOIN sources ON sources.id = patches.source
WHERE patches.id = ?
"""
_LABELS = f"""
SELECT label, origin, confidence, batch, made_s, kind, {COUNTS}
FROM labels JOIN label_batches ON label_batches.id = batch
WHERE CASE WHEN ?2 IS NULL THEN patch = ?1 ELSE labels.track = ?2 END
ORDER BY labels.id DESC
"""


@dataclass(frozen=True, slots=True)
class InputFile:
    """The file that was indexed. kind: image, video, shard or table; reading: how it was cut."""

    path: str
    sha256: str
    kind: str
    reading: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The image or the video that a hit names.

    sha256: of its bytes when it was read, None where only its name is known; state: of what
    lies at the path now, "unknown" where there is nothing to compare with; size_bytes: of
    that, None where it is missing.
    """

    path: str
    sha256: str | None
    kind: str
    camera: str | None
    state: State
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """A label of the patch's thing. counts: whether it is the one that a hit shows."""

    label: str
    origin: str
    confidence: float
    batch: int
    made_s: float
    kind: str
    counts: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that an index knows of a patch. segment: None where it could not be opened."""

    index: str
    place: Place
    segment: Segment | None
    row: int | None
    card: ModelCard
    input: InputFile
    source: SourceFile
    sightings: Sequence[Place]
    labels: Sequence[GivenLabel]

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of `explain`."""
        place = self.place
        return {
            "index": self.index,
            "id": place.id,
            "time_s": place.time_s,
            "box": list(place.box),
            "track": place.track,
            "label": place.label,
            "segment": self._segment(),
            "model": {
                "fingerprint": self.card.fingerprint,
                "backbone": self.card.backbone,
                "dim": self.card.dim,
                "lineage": dict(self.card.lineage),
            },
            "input": asdict(self.input),
            "source": asdict(self.source),
            "sightings": [
                {"id": s.id, "source": s.source, "time_s": s.time_s, "box": list(s.box)}
                for s in self.sightings
            ],
            "labels": [asdict(label) for label in self.labels],
        }

    def _segment(self) -> Mapping[str, Any] | None:
        if self.segment is None:
            return None
        return {
            "stem": self.segment.stem,
            "kind": self.segment.kind,
            "key": self.segment.key,
            "row": self.row,
            "vectors": self.segment.vectors,
            "files": {suffix: mark.sha256 for suffix, mark in self.segment.files.items()},
        }


def explain(store: FolderStore, patch: int) -> Explanation:
    """What is known of a patch; the source file is hashed, which takes its time where it is large.

    Raises InputError for an id that the index does not know.
    """
    sightings = store.sightings(patch)
    place = next(sighting for sighting in sightings if sighting.id == patch)
    (found,) = store.catalog.rows(_INPUT, (patch,))
    state, size_bytes = _state(Path(place.source), found[5])
    path, sha256, kind, camera = found[4:]
    segment, row = _segment_of(store, patch)
    return Explanation(
        store.name,
        place,
        segment,
        row,
        store.card,
        InputFile(*found[:4]),
        SourceFile(path, sha256, kind, camera, state, size_bytes),
        sightings,
        _labels(store, place),
    )


def _segment_of(store: FolderStore, patch: int) -> tuple[Segment, int] | tuple[None, None]:
    for opened in store.segments:
        row = int(np.searchsorted(opened.rows[:, 0], patch))
        if row < len(opened.rows) and opened.rows[row, 0] == patch:
            return opened.segment, row
    return None, None


def _labels(store: FolderStore, place: Place) -> list[GivenLabel]:
    track = None
    if place.track is not None:
        query = "SELECT id FROM tracks WHERE name = ?"
        ((track,),) = store.catalog.rows(query, (place.track,))
    rows = list(store.catalog.rows(_LABELS, (place.id, track)))
    # Newest first: the first that was given counts, else the first of the newest spread.
    able = [row for row in rows if row[-1]]
    best = next((row for row in able if row[1] == "given"), able[0] if able else None)
    return [
        GivenLabel(label, origin, confidence, batch, made_s, kind, row is best)
        for row in rows
        for label, origin, confidence, batch, made_s, kind, _ in (row,)
    ]


def _state(path: Path, sha256: str | None) -> tuple[State, int | None]:
    if not path.is_file() or is_special(path):
        return "missing", None
    try:
        size_bytes = path.stat().st_size
        if sha256 is None:
            return "unknown", size_bytes
        return "same" if sha256_file(path) == sha256 else "changed", size_bytes
    except OSError:
        return "unknown", None
