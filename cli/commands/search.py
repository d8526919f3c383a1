"""`vr search`: pictures, moments or patches to the places that show the same."""
# ruff: noqa: ARG001 - cli.search_flags reads the flags that are settings from the context

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import search_flags as flags
from cli.batch_search import search_batch
from cli.options import (
    DEFAULT_EXPORTED,
    DEFAULT_INDEX,
    Device,
    IndexFolder,
    Json,
    Model,
    Runtime,
    Store,
    Threads,
    faiss_device,
)
from cli.output import emit, plain, progress_bar, say, show_table, visible, warn
from cli.query_embedder import Running, open_query_embedder

if TYPE_CHECKING:
    from indexes.open import Target
    from indexes.search.hits import Hit
    from indexes.search.index import PatchIndex
    from indexes.search.question import Question, Side
    from indexes.search.settings import SearchSettings


def search(
    context: typer.Context,
    examples: flags.Examples = None,
    box: flags.BoxText = None,
    ids: flags.Ids = None,
    negatives: flags.Negatives = None,
    combine: flags.CombineHow = "mean",
    exclude_own: flags.ExcludeOwn = False,
    sources: flags.Sources = None,
    cameras: flags.Cameras = None,
    times: flags.Times = None,
    labels: flags.Labels = None,
    top: flags.Top = 10,
    group: flags.Group = "track",
    min_score: flags.MinScore = -1.0,
    html: flags.Html = None,
    open_it: flags.Open = False,
    rank: flags.Rank = None,
    batch: flags.BatchFile = None,
    out: flags.Out = None,
    index: IndexFolder = DEFAULT_INDEX,
    store: Store = None,
    allow_partial: flags.AllowPartial = False,
    model: Model = DEFAULT_EXPORTED,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Find the patches that look most like a picture: which video, when, where in the frame.

    A picture is an image, a moment of a video (VIDEO@SECONDS) or a patch of the index (--id).
    """
    from indexes.open import target_of
    from indexes.search.question import Question

    flags.check_flags(context)
    target = target_of(index, store)
    settings = flags.search_settings(context)
    running = Running(model, runtime, device, threads)
    if batch is not None:
        with open_for_search(target, device, allow_partial=allow_partial) as opened:
            return search_batch(opened, batch, out, running, (top, settings), as_json=as_json)
    question = Question(_side(examples, ids, box), _side(negatives, None, None), combine)
    begun = time.perf_counter()
    with open_for_search(target, device, allow_partial=allow_partial) as opened:
        answer = _answer(opened, question, running, (top, settings), exclude_own=exclude_own)
        milliseconds = 1000 * (time.perf_counter() - begun)
        answer = replace(answer, milliseconds=milliseconds)
        if html is not None:
            _write_page(html, opened, answer, settings)
        command = _opening(answer.hits, (rank or 1) if open_it else None)
        if as_json:
            emit(as_contract(opened, answer))
        else:
            _show(opened, answer)
    if command is not None:
        _open(command)
    return 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked and found. nothing: why there are no hits; runtime: what embedded it."""

    question: "Question"
    hits: "list[Hit]"
    nothing: str
    runtime: str
    milliseconds: float = 0.0

    @property
    def title(self) -> str:
        """What is looked for, in a line."""
        return ", ".join(self.question.wanted.names)


def open_for_search(target: "Target", device: str, *, allow_partial: bool) -> "PatchIndex":
    """Open an index, on the GPU where that was asked for, and say what of it is left out.

    One query is not worth moving an index: `auto` stays on the processor.
    """
    from indexes.search.index import open_index

    opened = open_index(target, faiss_device(device), allow_partial=allow_partial)
    for problem in opened.left_out:
        warn(f"left out: {plain(problem)}")
    return opened


def _side(names: list[str] | None, ids: list[int] | None, box: str | None) -> "Side":
    """The pictures of some names, read; a number that is no file is an indexed patch."""
    from cli.query import parse_box
    from indexes.search.pictures import read_example
    from indexes.search.question import Side

    region = None if box is None else parse_box(box)
    patches = list(ids or ())
    pictures = []
    for name in names or ():
        if ids is None and name.isascii() and name.isdigit() and not Path(name).exists():
            patches.append(flags.check_id(int(name)))
        else:
            pictures.append(read_example(name, region))
    return Side(tuple(pictures), tuple(patches))


def _answer(
    opened: "PatchIndex",
    question: "Question",
    running: Running,
    wanted: "tuple[int, SearchSettings]",
    *,
    exclude_own: bool,
) -> Answer:
    from indexes.search.nothing import why_nothing
    from indexes.search.question import own_patches, query_vectors

    top, settings = wanted
    embedder = open_query_embedder(opened.card, running) if question.has_pictures else None
    try:
        if embedder is not None:
            opened.check_model(embedder.card)
        queries = query_vectors(opened.store, question, embedder)
    finally:
        if embedder is not None:
            embedder.close()
    if exclude_own:
        own = own_patches(opened.store, question.wanted, queries)
        if not own:
            warn("the index has no patch of the query itself to leave out")
        settings = replace(settings, without=frozenset(own))
    hits = opened.search(queries, top, settings)
    nothing = "" if hits else why_nothing(opened.store, queries, settings)
    return Answer(question, hits, nothing, "" if embedder is None else embedder.runtime)


def _write_page(
    target: Path, opened: "PatchIndex", answer: Answer, settings: "SearchSettings"
) -> None:
    from indexes.search.page import Query, make_cards, write_results_page

    with progress_bar("reading frames", None, count=True) as bar:
        cards = make_cards(opened.store, answer.hits, lambda done, of: bar.at(done, of))
    query = Query(
        wanted=_shown(opened, answer.question.wanted),
        index=opened.store.name,
        vectors=len(opened),
        model=opened.card.fingerprint,
        milliseconds=answer.milliseconds,
        unwanted=_shown(opened, answer.question.unwanted),
        conditions=[*_regions(answer.question), *flags.words(settings)],
        left_out=opened.left_out,
        empty=answer.nothing,
    )
    write_results_page(target, query, cards)
    say(f"look at them: {plain(target)}")


def _regions(question: "Question") -> list[str]:
    from indexes.search.page import box_text

    boxes = [picture.box for picture in question.wanted.pictures]
    return [f"box {box_text(box.as_list())}" for box in boxes if box is not None]


def _shown(opened: "PatchIndex", side: "Side") -> list[Any]:
    from indexes.search.page import Shown

    pictures = [Shown.of(picture.name, picture.image) for picture in side.pictures]
    return pictures + [Shown(f"patch {key}", opened.thumbnail(key)) for key in side.patches]


def _opening(hits: "list[Hit]", rank: int | None) -> list[str] | None:
    """The command that opens a hit, before anything is shown: it may not be possible."""
    from cli.players import opening

    if rank is None:
        return None
    if rank > len(hits):
        warn(f"there is no hit {rank} to open")
        return None
    place = hits[rank - 1].place
    command = opening(place.source, place.time_s)
    if command is None:
        warn(f"nothing here opens {plain(place.source)}: install mpv, vlc or ffmpeg")
    return command


def _open(command: list[str]) -> None:
    from cli.players import as_text, has_display, start

    if has_display():
        say(f"opening: {plain(as_text(command))}")
        start(command)
    else:
        warn(f"there is no display here; where there is one: {plain(as_text(command))}")


def _show(opened: "PatchIndex", answer: Answer) -> None:
    from rich.table import Table
    from rich.text import Text

    from indexes.search.page import box_text
    from toolkit.pages import clock

    if not answer.hits:
        warn(f"nothing was found: {plain(answer.nothing)}")
    else:
        names = ["", "score", "id", "source", "time", "box", "track"]
        has_labels = any(hit.place.label is not None for hit in answer.hits)
        table = Table(title=f"like {plain(answer.title)}")
        for name in [*names, *(["label"] if has_labels else [])]:
            table.add_column(name, overflow="fold")  # on a narrow screen nothing is cut off
        for hit in answer.hits:
            place = hit.place
            moment = "" if place.time_s is None else clock(place.time_s)
            cells = [place.source, moment, box_text(place.box), place.track or ""]
            cells += [place.label or ""] * has_labels
            row = (Text(visible(cell)) for cell in cells)
            table.add_row(str(hit.rank), f"{hit.score:.3f}", str(hit.id), *row)
        show_table(table)
    on = f" on {answer.runtime}" if answer.runtime else ""
    say(f"{answer.milliseconds:.0f} ms{on}")


def as_contract(opened: "PatchIndex", answer: Answer) -> dict[str, Any]:
    """The `search` contract of docs/formats.md."""
    return {
        "query": answer.title,
        "index": opened.store.name,
        "hits": [hit.as_json() for hit in answer.hits],
        "milliseconds": round(answer.milliseconds, 1),
        "examples": answer.question.wanted.names,
        "negatives": answer.question.unwanted.names,
        "nothing": answer.nothing,
        "left_out": list(opened.left_out),
    }
