"""What an index holds, what it takes, and how well it was measured to find."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.build.budget import META, Wish, parse_wish
from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import FILE_NAME, damaged
from indexes.folder.store import FolderStore, open_folder
from indexes.plan.keys import read_shape
from indexes.records import Segment
from indexes.upgrade.switch import MAPPED
from indexes.vectors.approximate import ENOUGH, RECALL
from indexes.vectors.files import FLAT, base_suffix
from indexes.vectors.flat import KEY, KIND

_LONGEST = 18  # digits of a number of vectors


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What `vr index info` tells.

    vectors: of patches that are there; kind, key: of the largest segment; size_bytes: on the
    disk; memory_bytes: that searching holds, and the mapped vectors where it looks at all of
    them or walks about in them (as the plan counts it); model: the fingerprint; recall_at_10:
    share of the true ten nearest that the index finds, as measured when it was made (exact
    search finds all), None for an empty index; removed: vectors that wait for a compaction;
    counts: rows of the catalog, by what they are; mapped: vectors of an older model that an
    upgrade carried over, and did not embed; enough_ms: what a query would take that finds as
    many as were asked for, None where it does already.
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
    mapped: int = 0
    enough_ms: float | None = None

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
            "mapped": self.mapped,
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
        memory_bytes=sum(_held_bytes(segment, store.card.dim) for segment in segments),
        model=store.card.fingerprint,
        segments=len(segments),
        recall_at_10=_recall(segments),
        removed=len(catalog.tombstones()),
        wish=parse_wish(catalog.meta(META), index),
        counts={
            name: int(next(catalog.rows(f"SELECT count(*) FROM {name}"))[0])
            for name in ("inputs", "sources", "tracks", "labels")
        },
        mapped=_mapped(catalog),
        enough_ms=_number(largest, ENOUGH) if largest else None,
    )


def _number(segment: Segment, setting: str) -> float | None:
    value = segment.settings.get(setting)
    return float(value) if isinstance(value, int | float) else None


def _mapped(catalog: CatalogReader) -> int:
    text = catalog.meta(MAPPED) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST):
        raise damaged(catalog.index / FILE_NAME, f"{text[:40]!r} is no number of mapped vectors")
    return int(text)


def _held_bytes(segment: Segment, dim: int) -> int:
    suffix = base_suffix(segment.files)
    whole = segment.files[FLAT].size_bytes
    if suffix is None:
        return whole
    held = segment.files[suffix].size_bytes
    # A graph over the exact vectors has the links alone in its file.
    walks = segment.kind == "hnsw" and not read_shape(segment.key, dim).code_bytes
    return held + (whole if walks else 0)


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
