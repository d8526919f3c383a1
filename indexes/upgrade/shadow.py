"""A second index beside the old one, of the same inputs and the new model.

It is an ordinary index in a folder of its own inside the old one. So nothing of the old one
is touched meanwhile, and after a kill it goes on where it was.
"""

import random
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from indexes.build.build import fill
from indexes.build.filling import OnProgress
from indexes.build.settings import BuildSettings
from indexes.catalog.reader import CatalogReader
from indexes.folder.files import SHADOW
from indexes.folder.sink import FolderSink, folder_sink
from indexes.sources import Source, SourceKind
from indexes.upgrade.readings import reading_named
from toolkit.embedding import Embedder
from toolkit.model_card import ModelCard
from toolkit.records import Quarantined


@dataclass(frozen=True, slots=True)
class OldInput:
    """An input of the old index, as its catalog knows it."""

    path: str
    kind: SourceKind
    reading: str
    patches: int


def shadow_folder(index: Path, card: ModelCard) -> Path:
    """Where the index of the new model grows."""
    return index / f"{SHADOW}{card.fingerprint[:12]}"


def old_inputs(catalog: CatalogReader) -> list[OldInput]:
    """What the old index was made of, those of one reading side by side."""
    query = (
        "SELECT path, kind, reading, (SELECT count(*) FROM patches WHERE input = inputs.id) "
        "FROM inputs ORDER BY kind, reading, id"
    )
    return [OldInput(*row) for row in catalog.rows(query)]


def fill_shadow(
    index: Path,
    inputs: list[OldInput],
    embedder: Embedder,
    settings: BuildSettings,
    on_progress: OnProgress | None = None,
) -> list[Quarantined]:
    """Embed the inputs that the shadow does not have yet; what could not be read, and why."""
    problems: list[Quarantined] = []
    with folder_sink(shadow_folder(index, embedder.card), embedder.card, overwrite=False) as sink:
        for (kind, reading), group in groupby(inputs, lambda item: (item.kind, item.reading)):
            problems += _fill(sink, (kind, reading), list(group), (embedder, settings, on_progress))
    return problems


def _fill(
    sink: FolderSink,
    read_as: tuple[SourceKind, str],
    inputs: list[OldInput],
    how: tuple[Embedder, BuildSettings, OnProgress | None],
) -> list[Quarantined]:
    embedder, settings, on_progress = how
    kind, name = read_as
    reading = None if kind == "table" else reading_named(kind, name)
    if reading is None:
        reason = f"how it was read ({name}) cannot be told any more"
        if kind == "table":
            reason = "vectors of a file cannot be embedded anew"
        return [Quarantined(item.path, reason) for item in inputs]
    sources = [Source(Path(item.path), kind, name) for item in inputs]
    task = fill(sink, sources, embedder, replace(settings, reading=reading), on_progress)
    return task.quarantined


def drawn(inputs: list[OldInput], patches: int) -> list[OldInput]:
    """Inputs drawn at random that have about so many patches, in the order they had."""
    chosen: set[OldInput] = set()
    count = 0
    for item in random.Random(0).sample(inputs, len(inputs)):
        if count >= patches:
            break
        chosen.add(item)
        count += item.patches
    return [item for item in inputs if item in chosen]
