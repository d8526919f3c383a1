"""The switch itself: new vectors under the old ids, in one transaction."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.model_check import write_card
from indexes.catalog.writer import Catalog
from indexes.folder.sink import FolderSink
from indexes.folder.store import FolderStore
from indexes.records import Segment
from indexes.upgrade.orthogonal import MapQuality, apply_map, fit_orthogonal, measure_map
from indexes.upgrade.settings import LEAST_PAIRS, UpgradeSettings
from indexes.vectors.flat import FlatWriter
from toolkit.embedding import Embeddings
from toolkit.errors import InputError
from toolkit.model_card import ModelCard
from toolkit.records import Quarantined

MAPPED = "mapped"  # in the catalog's meta: how many vectors are mapped ones
_FIT_PAIRS = 20_000  # more change the map no more, and cost memory
_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Switch:
    """What becomes of each patch.

    pairs: int64 (N, 2), ids in the old index and in the shadow; rest: ids that the shadow
    does not have, which are mapped by `matrix` or, where that is None, dropped.
    """

    old: FolderStore
    fresh: FolderStore
    pairs: NDArray[np.int64]
    rest: NDArray[np.int64]
    matrix: NDArray[np.float32] | None
    quality: MapQuality | None

    @property
    def embedded(self) -> int:
        """Patches with a vector of the new network itself."""
        return len(self.pairs)

    @property
    def mapped(self) -> int:
        """Patches whose old vector is mapped."""
        return 0 if self.matrix is None else len(self.rest)

    @property
    def dropped(self) -> int:
        """Patches that are removed."""
        return len(self.rest) if self.matrix is None else 0

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], Embeddings]]:
        """The patches of the new index by rising id, and their vectors (n, D)."""
        fresh_of = dict(self.pairs.tolist())
        kept = self.pairs[:, 0]
        if self.matrix is not None:
            kept = np.union1d(kept, self.rest)
        for start in range(0, len(kept), _ROWS):
            ids = kept[start : start + _ROWS]
            embedded = np.isin(ids, self.pairs[:, 0])
            vectors = np.empty((len(ids), self.fresh.card.dim), np.float32)
            vectors[embedded] = self.fresh.vectors_of([fresh_of[key] for key in ids[embedded]])
            if self.matrix is not None and not embedded.all():
                mapped = apply_map(self.old.vectors_of(ids[~embedded].tolist()), self.matrix)
                vectors[~embedded] = mapped
            yield ids, vectors


def plan_switch(
    old: FolderStore,
    fresh: FolderStore,
    pairs: NDArray[np.int64],
    settings: UpgradeSettings,
    problems: Sequence[Quarantined],
) -> Switch:
    """Decide what becomes of each patch. Raises InputError where it cannot be as asked."""
    living = np.fromiter((k for (k,) in old.catalog.rows("SELECT id FROM patches")), np.int64)
    rest = np.setdiff1d(living, pairs[:, 0])
    if len(rest) and not settings.map_first and settings.rest == "refuse":
        raise cannot_embed(len(rest), len(living), problems)
    matrix = quality = None
    if len(rest) and (settings.map_first or settings.rest == "map"):
        matrix, quality = _fit(old, fresh, pairs)
    if len(rest) == len(living) and matrix is None:
        raise cannot_embed(len(rest), len(living), problems)
    return Switch(old, fresh, pairs, rest, matrix, quality)


def _fit(
    old: FolderStore, fresh: FolderStore, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float32], MapQuality]:
    if len(pairs) < LEAST_PAIRS:
        raise InputError(
            f"Only {len(pairs)} patches have vectors of both models; "
            f"{LEAST_PAIRS} are needed to fit a map.",
            mend="Put the files that were indexed back to where they were, or build anew.",
        )
    drawn = np.random.default_rng(0).permutation(len(pairs))[:_FIT_PAIRS]
    before = old.vectors_of(pairs[drawn, 0].tolist())
    after = fresh.vectors_of(pairs[drawn, 1].tolist())
    return fit_orthogonal(before, after), measure_map(before, after)


def switch(sink: FolderSink, card: ModelCard, plan: Switch) -> Segment:
    """Write the new vectors and make them the index, in one transaction."""
    catalog = sink.catalog
    rows: list[NDArray[np.int64]] = []
    with FlatWriter(sink.folder, card.dim) as draft:
        for ids, vectors in plan.blocks():
            draft.append(vectors)
            rows.append(_with_things(catalog, ids))
        segment = draft.finish(np.concatenate(rows))
    catalog.replace_segments(catalog.segments(), segment)
    catalog.forget_tombstones(catalog.tombstones())
    if plan.dropped:
        dropped = json.dumps(plan.rest.tolist())
        catalog.delete_patches("id IN (SELECT value FROM json_each(?))", (dropped,))
        catalog.drop_empty_inputs()
    write_card(catalog.connection, card)
    catalog.set_meta(MAPPED, str(plan.mapped) if plan.mapped else "")
    sink.commit()
    return segment


def _with_things(catalog: Catalog, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 (n, 2): patch and thing, of rising ids."""
    found = catalog.connection.execute(
        "SELECT id, coalesce(track, -id) FROM patches WHERE id BETWEEN ? AND ? ORDER BY id",
        (int(ids[0]), int(ids[-1])),
    )
    known = np.asarray(found.fetchall(), np.int64).reshape(-1, 2)
    return known[np.isin(known[:, 0], ids)]


def cannot_embed(rest: int, living: int, problems: Sequence[Quarantined]) -> InputError:
    """The error for an index that is not switched because too little of it could be read."""
    reasons = "".join(f" {item.path}: {item.reason}" for item in problems[:3])
    return InputError(
        f"{rest} of {living} patches cannot be embedded anew; the index is as it was.{reasons}",
        mend="Put the files back to where they were and go on, or give --rest map to carry "
        "these over by a map that is measured, or --rest drop to leave them out.",
    )
