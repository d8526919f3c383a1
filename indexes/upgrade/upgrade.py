"""From one model to another: the old index serves until the moment of the switch."""

import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.build.budget import remembered
from indexes.build.build import grow
from indexes.build.filling import OnProgress
from indexes.build.shadows import prune_shadows
from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import FILE_NAME
from indexes.folder.files import shadow_folders, sweep
from indexes.folder.sink import folder_sink
from indexes.folder.store import open_folder
from indexes.upgrade.orthogonal import MapQuality
from indexes.upgrade.pairs import same_patches
from indexes.upgrade.settings import UpgradeSettings
from indexes.upgrade.shadow import (
    OldInput,
    drawn,
    fill_shadow,
    old_inputs,
    shadow_folder,
)
from indexes.upgrade.switch import MAPPED, cannot_embed, plan_switch, switch
from toolkit.embedding import Embedder
from toolkit.errors import UsageError
from toolkit.model_card import ModelCard
from toolkit.records import Quarantined


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What an upgrade did: patches by what became of their vectors, and the map's quality."""

    index: str
    model_before: str
    model: str
    embedded: int
    mapped: int
    dropped: int
    quality: MapQuality | None
    quarantined: tuple[Quarantined, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The contract of `vr index upgrade`."""
        quality = self.quality
        return {
            "index": self.index,
            "model_before": self.model_before,
            "model": self.model,
            "embedded": self.embedded,
            "mapped": self.mapped,
            "dropped": self.dropped,
            "map": None
            if quality is None
            else {
                "recall@10": quality.recall_at_10,
                "recall_loss": quality.recall_loss,
                "cosine": quality.cosine,
                "fitted": quality.fitted,
                "queries": quality.queries,
            },
            "quarantined": [{"source": q.path, "reason": q.reason} for q in self.quarantined],
            "seconds": round(self.seconds, 3),
        }


def upgrade(
    index: Path,
    embedder: Embedder,
    settings: UpgradeSettings | None = None,
    on_progress: OnProgress | None = None,
) -> UpgradeReport:
    """Bring an index to another model: ids, labels and tracks stay, vectors are new.

    The inputs are read again where they lie, into a shadow beside the old index, which can
    be searched and added to meanwhile; a later call goes on where this one was stopped. One
    transaction makes the switch. Raises UsageError for an index that is of this model,
    InputError where patches cannot be embedded anew and `rest` is "refuse", or where there
    is too little to fit a map; StorageError, MismatchError.
    """
    settings = settings or UpgradeSettings()
    start = time.monotonic()
    before, inputs = _look(index, embedder)
    shadow = shadow_folder(index, embedder.card)
    chosen = drawn(inputs, settings.sample) if settings.map_first else inputs
    problems = fill_shadow(index, chosen, embedder, settings.build, on_progress)
    with folder_sink(index, before, wait_s=settings.build.wait_s) as sink:
        if not settings.map_first:  # what was added while the shadow grew
            newest = [item for item in _look(index, embedder)[1] if item not in inputs]
            problems += fill_shadow(index, newest, embedder, settings.build, on_progress)
        if not (shadow / FILE_NAME).is_file():  # nothing could be read
            living = sink.catalog.count()
            raise cannot_embed(living, living, problems)
        with closing(open_folder(index)) as old, closing(open_folder(shadow)) as fresh:
            plan = plan_switch(old, fresh, same_patches(index, shadow), settings, problems)
            switch(sink, embedder.card, plan)
        sweep(index, sink.catalog)
        grow(sink, remembered(sink.catalog, None), settings.build, on_progress)
    if plan.mapped:
        prune_shadows(index)  # of what was removed while they grew
    else:
        for folder in shadow_folders(index):
            shutil.rmtree(folder)
    return UpgradeReport(
        str(index),
        before.fingerprint,
        embedder.card.fingerprint,
        plan.embedded,
        plan.mapped,
        plan.dropped,
        plan.quality,
        tuple(problems),
        time.monotonic() - start,
    )


def _look(index: Path, embedder: Embedder) -> tuple[ModelCard, list[OldInput]]:
    """The model of the index as it is, and what it was made of."""
    with closing(CatalogReader(index)) as catalog:
        if catalog.card.fingerprint == embedder.card.fingerprint and not catalog.meta(MAPPED):
            raise UsageError(
                f"The index {index} is of this model already.", mend="Give --model another one."
            )
        if not catalog.count():
            raise UsageError(
                f"The index {index} is empty: there is nothing to upgrade.",
                mend="Build it with the new model: vr index build --overwrite.",
            )
        return catalog.card, old_inputs(catalog)
