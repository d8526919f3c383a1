"""`vr search --batch`: a list of queries to a list of answers."""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.output import (
    Bar,
    count,
    emit,
    plain,
    progress_bar,
    say,
    show_line,
    visible,
    warn,
    warn_set_aside,
)
from cli.query_embedder import Running, open_query_embedder

if TYPE_CHECKING:
    from indexes.search.answers import Write
    from indexes.search.batch import Answer, Batch
    from indexes.search.index import PatchIndex
    from indexes.search.settings import SearchSettings
    from toolkit.embedding import Embedder
    from toolkit.records import Quarantined

_QUARANTINED = 3
_FEW = 64  # up to so many pictures a quick start wins more than the slower pace costs


def search_batch(
    opened: "PatchIndex",
    path: Path,
    out: Path | None,
    running: Running,
    wanted: "tuple[int, SearchSettings]",
    *,
    as_json: bool,
) -> int:
    """Answer every query of a file; what cannot be one is set aside. The exit code.

    The answers go to `out`; without one they are lines on stdout, or with --json one object.
    """
    from indexes.search.answers import check_suffix
    from indexes.search.batch import Batch

    if out is not None:
        check_suffix(out)
    begun = time.perf_counter()
    batch = Batch.open(path)
    embedder = None
    if batch.has_pictures:
        embedder = open_query_embedder(opened.card, running, quick=batch.total <= _FEW)
    held: list[Answer] = []
    try:
        if embedder is not None:
            opened.check_model(embedder.card)
            say(f"embedding with {plain(running.model)} on {embedder.runtime}")
        with _target(out, held if as_json else None) as write:
            answered, set_aside = _run(opened, batch, embedder, wanted, write)
    finally:
        if embedder is not None:
            embedder.close()
    seconds = time.perf_counter() - begun
    say(f"[bold]{count(answered, 'query', 'queries')}[/] answered in {seconds:.1f} s")
    if as_json:
        content = {"out": str(out)} if out is not None else {"queries": _as_json(held)}
        emit(
            {
                "batch": str(path),
                "index": opened.store.name,
                **content,
                "answered": answered,
                "quarantined": [{"query": q.path, "reason": q.reason} for q in set_aside],
                "left_out": list(opened.left_out),
                "seconds": round(seconds, 3),
            }
        )
    elif out is not None:
        show_line(visible(out))
    return _QUARANTINED if set_aside else 0


def _as_json(answers: "list[Answer]") -> list[dict[str, Any]]:
    return [{"query": a.query, "hits": [hit.as_json() for hit in a.hits]} for a in answers]


def _target(out: Path | None, held: "list[Answer] | None") -> "AbstractContextManager[Write]":
    from indexes.search.answers import as_line, write_answers

    if out is not None:
        return write_answers(out)
    if held is not None:
        return nullcontext(held.append)
    return nullcontext(lambda answer: show_line(as_line(answer)))


def _run(
    opened: "PatchIndex",
    batch: "Batch",
    embedder: "Embedder | None",
    wanted: "tuple[int, SearchSettings]",
    write: "Write",
) -> "tuple[int, list[Quarantined]]":
    from indexes.search.batch import answer_batch
    from toolkit.records import Quarantined

    answered = 0
    set_aside: list[Quarantined] = []
    with progress_bar("searching", batch.total, count=True) as bar:
        told = _Told(bar, batch.total)
        for item in answer_batch(opened, batch, embedder, *wanted, note=lambda t: warn(plain(t))):
            if isinstance(item, Quarantined):
                set_aside.append(item)
                warn_set_aside(item.path, item.reason)
            else:
                answered += 1
                write(item)
            told.at(answered + len(set_aside))
    return answered, set_aside


class _Told:
    """Moves the bar a hundred times, not a million."""

    def __init__(self, bar: Bar, total: int) -> None:
        self._bar, self._total = bar, total
        self._step = max(total // 100, 1)

    def at(self, done: int) -> None:
        if done % self._step == 0 or done == self._total:
            self._bar.at(done, self._total)
