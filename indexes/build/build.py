"""Build an index: only what is new is read and embedded, and it is there at once or not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from indexes.build.budget import (
    Wish,
    check_wish,
    plan_now,
    remember,
    remembered,
    this_machine,
)
from indexes.build.estimate import expect, not_listed
from indexes.build.filling import Filling, OnProgress
from indexes.build.merge import Merging, OnStep, merge, unlike, what_to_merge
from indexes.build.settings import BuildProgress, BuildReport, BuildSettings
from indexes.build.shadows import prune_shadows
from indexes.build.writer import IndexWriter
from indexes.catalog.writer import Catalog
from indexes.folder.files import sweep
from indexes.folder.sink import FolderSink, folder_sink
from indexes.sources import Reading, Source, find_sources, printable
from indexes.stores import PatchSink
from toolkit.embedding import Embedder
from toolkit.errors import InputError, UsageError
from toolkit.records import Quarantined


def build(
    index: Path,
    sources: Sequence[Path],
    embedder: Embedder,
    settings: BuildSettings | None = None,
    on_progress: OnProgress | None = None,
) -> BuildReport:
    """Index what is new in the sources (see find_sources), making the index where needed.

    What cannot be read is quarantined and the rest goes on. At the end many segments become
    one of the kind that suits so many vectors and the budget. After a kill at any point the
    index is the old or the new one; a later build goes on from the last commit, which after
    a KeyboardInterrupt holds every source that was finished. With `overwrite` there is one
    commit of all that was read, and the old index is whole until then. A budget or key that
    was given is kept for later builds once it came true.
    Raises InputError where there is nothing to index or no index fits the budget, UsageError
    for a key that cannot be made (before anything is embedded, but where only reading tells
    how many vectors there are), MismatchError for an index of another model or a model whose
    vectors are not as its card says, StorageError where the target cannot be written, holds
    something else, or another process is writing it.
    """
    settings = settings or BuildSettings()
    found, unreadable = find_all(sources, settings.reading)
    with folder_sink(
        index, embedder.card, overwrite=settings.overwrite, wait_s=settings.wait_s
    ) as sink:
        wish = remembered(sink.catalog, settings.wish)
        new = expect(not_listed(found, sink.catalog.inputs()), settings.reading)
        _check_fits(sink, wish, new.vectors)
        coming = None if new.unknown else sink.catalog.count() + new.vectors
        check_wish(settings.wish, coming, embedder.card.dim)
        task = fill(sink, found, embedder, settings, on_progress, lambda: _check_fits(sink, wish))
        if sink.is_empty():
            raise nothing_found(sources, [*unreadable, *task.quarantined])
        sweep(index, sink.catalog)  # what `overwrite` has replaced
        if settings.overwrite:
            prune_shadows(index)
        task.note(grow(sink, wish, settings, on_progress))
    return task.report(str(index), unreadable)


def fill(
    sink: PatchSink,
    sources: Sequence[Source],
    embedder: Embedder,
    settings: BuildSettings,
    on_progress: OnProgress | None = None,
    after_commit: Callable[[], None] | None = None,
) -> Filling:
    """Take sources into an open sink and commit them; what was done, counted.

    after_commit: called after each commit but the last, to raise where it must not go on.
    """
    writer = IndexWriter(sink, embedder, settings.batch)
    task = Filling(writer, sources, settings, on_progress)
    with _kept_when_interrupted(writer, settings):
        for source in sources:
            if task.take(source, sink, embedder) and after_commit is not None:
                after_commit()
        if not sink.is_empty() or writer.uncommitted:
            writer.commit()
    return task


@contextmanager
def _kept_when_interrupted(writer: IndexWriter, settings: BuildSettings) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if not settings.overwrite:
            writer.commit_whole_sources()
        raise


def _check_fits(sink: FolderSink, wish: Wish, expected: int = 0) -> None:
    """Raises InputError where no index fits what is there and what is sure to come."""
    count = sink.catalog.count() + expected
    wish.plan(count, sink.catalog.card().dim, this_machine(sink.folder))


def grow(
    sink: FolderSink, wish: Wish, settings: BuildSettings, on_progress: OnProgress | None
) -> str:
    """Merge what is worth merging, after all is committed; a note for people, or nothing."""
    catalog = sink.catalog
    vectors, dim = catalog.count(), catalog.card().dim
    machine = this_machine(sink.folder, settings.device)
    plan = plan_now(wish, vectors, dim, machine, asked=settings.wish is not None)
    segments = catalog.segments()
    merging = what_to_merge(segments, catalog.tombstones(), plan)
    if merging is None and settings.wish is not None:
        merging = unlike(segments, plan, by_key=wish.key is not None)
    remember(catalog, settings.wish)

    def tell(phase: str, done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(BuildProgress("", done, total, vectors, phase, done / max(total, 1)))

    if merging is None:
        catalog.commit()
        catalog.begin()
    else:
        _merge(catalog, merging, settings, tell)
    return plan.reasons[0] if plan.key != (wish.key or plan.key) else ""


def _merge(catalog: Catalog, merging: Merging, settings: BuildSettings, tell: OnStep) -> None:
    try:
        merge(catalog, merging, settings.device, tell)
    except UsageError as error:  # of a key; how many vectors there are was not known before
        raise UsageError(
            error.problem,
            mend=f"{error.mend} What was embedded is in the index, which is searched exactly.",
        ) from error


def find_all(sources: Sequence[Path], reading: Reading) -> tuple[list[Source], list[Quarantined]]:
    """What is to be read, and folders that cannot be. Raises InputError where there is nothing."""
    unreadable: list[Quarantined] = []
    found = find_sources(
        sources,
        reading,
        lambda path, error: unreadable.append(
            Quarantined(printable(path), error.strerror or str(error))
        ),
    )
    if not found:
        raise nothing_found(sources, unreadable)
    return found, unreadable


def nothing_found(sources: Sequence[Path], quarantined: Sequence[Quarantined]) -> InputError:
    """The error for sources that hold nothing to index."""
    given = ", ".join(printable(path) for path in sources) or "no source"
    reasons = "".join(f" {bad.reason}" for bad in quarantined[:3])
    return InputError(
        f"There is nothing to index in {given}.{reasons}",
        mend="Give images, pair shards, videos, or files of vectors.",
    )
