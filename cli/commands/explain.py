"""`vr explain`: where a patch of an index comes from."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import search_flags as flags
from cli.options import DEFAULT_INDEX, DEFAULT_RUNS, IndexFolder, Json, Store
from cli.output import count, emit, say, show_table, visible, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexes.search.explain import Explanation
    from indexes.search.hits import Hit
    from indexes.search.index import PatchIndex
    from toolkit.training.origin import Training

_NEIGHBOURS = 5
_SHOWN = 5  # sightings and shards in the table; --json has all


def explain(
    patch: Annotated[int, typer.Argument(metavar="ID", help="Of the patch, from a hit.")],
    index: IndexFolder = DEFAULT_INDEX,
    store: Store = None,
    runs: Annotated[
        Path, typer.Option(help="Folder of the runs, for what the network learned from.")
    ] = DEFAULT_RUNS,
    allow_partial: flags.AllowPartial = False,
    as_json: Json = False,
) -> int:
    """Say where a patch comes from: file, moment, track, labels, segment, model and its training.

    The source is hashed, to say whether the file at its path is still the one that was read.
    """
    from cli.commands.search import open_for_search
    from indexes.folder.store import FolderStore
    from indexes.open import target_of
    from indexes.search.explain import explain as explain_patch
    from toolkit.errors import UsageError
    from toolkit.training.origin import training_of

    flags.check_id(patch)
    target = target_of(index, store)
    with open_for_search(target, "cpu", allow_partial=allow_partial) as opened:
        kept = opened.store
        if not isinstance(kept, FolderStore):
            raise UsageError(
                f"{kept.name} is no folder, and keeps no lineage.",
                mend="Explain a patch of an index in a folder: --index FOLDER.",
            )
        explanation = explain_patch(kept, patch)
        nearest = _neighbours(opened, explanation)
        left_out = list(opened.left_out)
    training = training_of(explanation.card.lineage, runs)
    if as_json:
        emit(as_contract(explanation, training, nearest) | {"left_out": left_out})
    else:
        _show(explanation, training, nearest)
    return 0


def _neighbours(opened: "PatchIndex", explanation: "Explanation") -> "list[Hit]":
    """The most alike of other tracks; none where the patch's own segment was left out."""
    from indexes.search.settings import SearchSettings

    if explanation.segment is None:
        return []
    own = frozenset(sighting.id for sighting in explanation.sightings)
    vector = opened.vectors_of([explanation.place.id])[0]
    return opened.search(vector, _NEIGHBOURS, SearchSettings(without=own))


def as_contract(
    explanation: "Explanation", training: "Training | None", nearest: "list[Hit]"
) -> dict[str, Any]:
    """The `explain` contract of docs/formats.md."""
    return {
        **explanation.as_json(),
        "training": None if training is None else _training(training, explanation),
        "nearest": [hit.as_json() for hit in nearest],
    }


def _training(training: "Training", explanation: "Explanation") -> dict[str, Any]:
    sha256 = explanation.source.sha256
    return {
        "run": training.run,
        "patches": training.patches,
        "data": training.digest,
        "train_pairs": training.train_pairs,
        "held_out_pairs": training.held_out_pairs,
        "shards": list(training.shards),
        "shard_of_source": None if sha256 is None else training.shard_of(sha256),
    }


def _show(explanation: "Explanation", training: "Training | None", nearest: "list[Hit]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, title=f"patch {explanation.place.id}")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in [*_where(explanation), *_made(explanation), *_learned(training, explanation)]:
        table.add_row(name, Text(visible(text)))
    for hit in nearest:
        place = f"patch {hit.id} of {hit.place.source}{_moment(hit.place.time_s)}"
        table.add_row("like it", Text(visible(f"{hit.score:.3f}  {place}")))
    show_table(table)
    if explanation.source.state == "changed":
        warn("the file at the source's path is another one now")
    if explanation.source.state == "missing":
        say("the source is not at its path any more; the index keeps a small picture of it")


def _where(explanation: "Explanation") -> "Iterator[tuple[str, str]]":
    from indexes.search.page import box_text

    place, source = explanation.place, explanation.source
    yield "source", f"{source.path}{_moment(place.time_s)}"
    if place.time_s is not None:
        yield "PTS", f"{place.time_s:.6f} s"
    yield "box", box_text(place.box)
    yield (
        "its bytes",
        f"SHA-256 {source.sha256 or 'unknown'}; now: {source.state}"
        + ("" if source.size_bytes is None else f", {source.size_bytes:,} bytes"),
    )
    if source.camera is not None:
        yield "camera", source.camera
    read = explanation.input
    yield "read from", f"{read.path} ({read.kind}, {read.reading}), SHA-256 {read.sha256}"
    if place.track is not None:
        moments = [f"{s.id}{_moment(s.time_s)}" for s in explanation.sightings[:_SHOWN]]
        more = " ..." if len(explanation.sightings) > _SHOWN else ""
        seen = count(len(explanation.sightings), "sighting")
        yield "track", f"{place.track}, {seen}: {', '.join(moments)}{more}"
    for label in explanation.labels:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(label.made_s))
        how = f"{label.origin}, batch {label.batch} of {made}, confidence {label.confidence:.2f}"
        yield "label", f"{label.label} ({how}){'' if label.counts else ', does not count'}"


def _made(explanation: "Explanation") -> "Iterator[tuple[str, str]]":
    segment, card = explanation.segment, explanation.card
    if segment is None:
        yield "segment", "damaged, left out"
    else:
        at = f"row {explanation.row} of {segment.vectors:,}"
        yield "segment", f"{segment.stem} ({segment.key}), {at}"
    yield "model", f"{card.fingerprint} ({card.backbone}, {card.dim} numbers)"
    known = ", ".join(f"{key} {value}" for key, value in sorted(card.lineage.items()))
    yield "lineage", known or "unknown"


def _learned(
    training: "Training | None", explanation: "Explanation"
) -> "Iterator[tuple[str, str]]":
    if training is None:
        yield "training", "its run is not among the runs here"
        return
    pairs = f"{training.train_pairs:,} pairs, {training.held_out_pairs:,} held out"
    yield "training", f"run {training.run}: {pairs}, from {training.patches}"
    shown = ", ".join(training.shards[:_SHOWN]) or "not there any more"
    more = f" and {len(training.shards) - _SHOWN} more" if len(training.shards) > _SHOWN else ""
    yield "shards", f"{shown}{more}"
    sha256 = explanation.source.sha256
    if sha256 is not None and training.shards:
        yield "this source", training.shard_of(sha256) or "is not in them"


def _moment(time_s: float | None) -> str:
    from toolkit.pages import clock

    return "" if time_s is None else f" at {clock(time_s)}"
