"""What an index holds, what it takes, and how well it was measured to find."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.build.budget import META, Wish, parse_wish
from indexes.folder.store import FolderStore, open_folder
from indexes.records import Segment
from indexes.vectors.approximate import RECALL
from indexes.vectors.files import FLAT, base_suffix
from indexes.vectors.flat import KEY, KIND


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What `vr index info` tells.

    vectors: of patches that are there; kind, key: of the largest segment; size_bytes: on the
    disk; memory_bytes: that searching holds, or maps where nothing but the vectors is; model:
    the fingerprint; recall_at_10: share of the true ten nearest that the index finds, as
    measured when it was made (exact search finds all), None for an empty index; removed:
    vectors that wait for a compaction; counts: rows of the catalog, by what they are.
    """

    index: str
    vectors: int
    dim: int
    kind: str
    key: str
    size_bytes: int
    memory_bytes: int
    model: str
    segments: int
    recall_at_10: float | None
    removed: int
    wish: Wish
    counts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of `index`."""
        return {
            "index": self.index,
            "vectors": self.vectors,
            "dim": self.dim,
            "kind": self.kind,
            "key": self.key,
            "bytes": self.size_bytes,
            "memory_bytes": self.memory_bytes,
            "model": self.model,
            "segments": self.segments,
            "measured_recall@10": self.recall_at_10,
            "removed": self.removed,
            "budget": self.wish.as_json(),
            **self.counts,
        }


def info(index: Path) -> IndexInfo:
    """Open and check an index. Raises InputError, MismatchError, MissingError."""
    with closing(open_folder(index)) as store:
        return info_of(store, index)


def info_of(store: FolderStore, index: Path) -> IndexInfo:
    """What an open index holds."""
    catalog = store.catalog
    segments = catalog.segments
    largest = max(segments, key=lambda segment: segment.vectors, default=None)
    return IndexInfo(
        index=str(index),
        vectors=len(store),
        dim=store.card.dim,
        kind=largest.kind if largest else KIND,
        key=largest.key if largest else KEY,
        size_bytes=catalog.size_bytes() + sum(segment.size_bytes for segment in segments),
        memory_bytes=sum(map(_held_bytes, segments)),
        model=store.card.fingerprint,
        segments=len(segments),
        recall_at_10=_recall(segments),
        removed=len(catalog.tombstones()),
        wish=parse_wish(catalog.meta(META), index),
        counts={
            name: int(next(catalog.rows(f"SELECT count(*) FROM {name}"))[0])
            for name in ("inputs", "sources", "tracks", "labels")
        },
    )


def _held_bytes(segment: Segment) -> int:
    return segment.files[base_suffix(segment.files) or FLAT].size_bytes


def _recall(segments: list[Segment]) -> float | None:
    """Over all segments, each as much as it has vectors."""
    total = sum(segment.vectors for segment in segments)
    if not total:
        return None
    measured = [segment.settings.get(RECALL, 1.0) for segment in segments]
    if not all(isinstance(recall, int | float) for recall in measured):
        return None  # nothing that was measured
    pairs = zip(segments, measured, strict=True)
    return sum(segment.vectors * float(recall) for segment, recall in pairs) / total
