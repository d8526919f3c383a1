"""Build an index: only what is new is read and embedded, and it is there at once or not."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from indexes.catalog import Catalog, writing_catalog
from indexes.info import IndexInfo, info
from indexes.schema import SEGMENTS
from indexes.sources import IndexPatch, Source, find_sources, printable, read_patches
from indexes.vectors import SUFFIX
from indexes.writer import IndexWriter
from toolkit.embedding import Embedder
from toolkit.errors import InputError, UsageError
from toolkit.lock import writing
from toolkit.mining.settings import MiningSettings
from toolkit.records import Quarantined
from toolkit.video.decode import DamagedVideoError
from toolkit.workspace import storage_errors

__all__ = ["BuildProgress", "BuildReport", "BuildSettings", "IndexInfo", "build", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """How to build. Raises UsageError for a value that makes no sense, naming it.

    overwrite: remove what is in the index, whatever model made it; batch: pictures embedded
    at once; commit_vectors, commit_s: new vectors and seconds after which the change is made
    visible, which bounds what a kill can lose; mining: how moving regions are found.
    """

    overwrite: bool = False
    batch: int = 64
    commit_vectors: int = 50_000
    commit_s: float = 60.0
    mining: MiningSettings = field(default_factory=MiningSettings)

    def __post_init__(self) -> None:
        for name in ("batch", "commit_vectors"):
            if getattr(self, name) < 1:
                raise UsageError(f"The setting {name} is {getattr(self, name)}; 1 is the least.")
        if not self.commit_s > 0:
            raise UsageError(f"The setting commit_s is {self.commit_s}; it must be over 0.")


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """What is being done: the source, `done` of `total` before it, vectors so far.

    It comes before each source, and within a source after each batch of its patches.
    """

    source: str
    done: int
    total: int
    vectors: int


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did: sources added and skipped (their content is there), new vectors."""

    index: str
    added: int
    skipped: int
    vectors: int
    quarantined: tuple[Quarantined, ...]
    seconds: float


def build(
    index: Path,
    sources: Sequence[Path],
    embedder: Embedder,
    settings: BuildSettings | None = None,
    on_progress: Callable[[BuildProgress], None] | None = None,
) -> BuildReport:
    """Index what is new in the sources (see find_sources), making the index where needed.

    What cannot be read is quarantined and the rest goes on. After a kill at any point the
    index is the old or the new one; a later build goes on from the last commit, which after
    a KeyboardInterrupt holds every source that was finished. With `overwrite` there is one
    commit at the end, and the old index is whole until then.
    Raises InputError where there is nothing to index, MismatchError for an index of another
    model or a model whose vectors are not as its card says, StorageError where the target
    cannot be written or another process is writing it.
    """
    settings = settings or BuildSettings()
    start = time.monotonic()
    found = find_sources(sources)
    if not found:
        raise _nothing(sources, [])
    with writing(index, f"the index {index}"), writing_catalog(index) as catalog:
        catalog.begin()
        _sweep(index, catalog)
        catalog.use_model(embedder.card, overwrite=settings.overwrite)
        writer = IndexWriter(index, catalog, embedder, settings.batch)
        task = _Build(catalog, writer, settings, on_progress, len(found), start)
        with _kept_when_interrupted(writer, settings):
            for source in found:
                task.take(source)
            if catalog.is_empty():
                raise _nothing(sources, task.quarantined)
            writer.commit()
    seconds = time.monotonic() - start
    quarantined = tuple(task.quarantined)
    return BuildReport(str(index), task.added, task.skipped, task.vectors, quarantined, seconds)


@contextmanager
def _kept_when_interrupted(writer: IndexWriter, settings: BuildSettings) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if not settings.overwrite:
            writer.commit_whole_sources()
        raise


@dataclass(slots=True)
class _Build:
    """A build under way: takes the sources one by one and counts."""

    catalog: Catalog
    writer: IndexWriter
    settings: BuildSettings
    on_progress: Callable[[BuildProgress], None] | None
    total: int
    committed_at: float  # time.monotonic()
    done: int = 0
    added: int = 0
    skipped: int = 0
    vectors: int = 0
    quarantined: list[Quarantined] = field(default_factory=list)

    def take(self, source: Source) -> None:
        """Index a source, skip it where its content is there, or quarantine it."""
        before = self.writer.uncommitted
        self._tell(source, 0)
        try:
            sha256 = source.sha256()
            if self.catalog.has_input(source, sha256):
                self.skipped += 1
            else:
                patches = read_patches(source, sha256, self.settings.mining)
                self.writer.add(source, sha256, self._told(source, patches))
                self.added += 1
        except DamagedVideoError as error:  # what could be read of it is in
            self.added += 1
            self._quarantine(source, error)
        except InputError as error:
            self._quarantine(source, error)
        self.done += 1
        self.vectors += self.writer.uncommitted - before
        if self._may_commit():
            self.writer.commit()
            self.committed_at = time.monotonic()

    def _may_commit(self) -> bool:
        if self.settings.overwrite or self.catalog.is_empty():
            return False
        waited = time.monotonic() - self.committed_at
        enough = self.writer.uncommitted >= self.settings.commit_vectors
        return enough or waited >= self.settings.commit_s

    def _told(self, source: Source, patches: Iterator[IndexPatch]) -> Iterator[IndexPatch]:
        for count, patch in enumerate(patches, start=1):
            yield patch
            if count % self.settings.batch == 0:
                self._tell(source, count)

    def _tell(self, source: Source, patches: int) -> None:
        if self.on_progress is not None:
            name, vectors = printable(source.path), self.vectors + patches
            self.on_progress(BuildProgress(name, self.done, self.total, vectors))

    def _quarantine(self, source: Source, error: InputError) -> None:
        self.quarantined.append(Quarantined(printable(source.path), error.problem))


def _sweep(index: Path, catalog: Catalog) -> None:
    """Delete the segment files, whole and half, that a killed or replaced build left."""
    folder = index / SEGMENTS
    belonging = catalog.segment_files()
    with storage_errors(folder):
        for path in folder.glob(f"*{SUFFIX}*"):
            if path.name not in belonging:
                path.unlink()


def _nothing(sources: Sequence[Path], quarantined: Sequence[Quarantined]) -> InputError:
    given = ", ".join(printable(path) for path in sources) or "no source"
    reasons = "".join(f" {bad.reason}" for bad in quarantined[:3])
    return InputError(
        f"There is nothing to index in {given}.{reasons}",
        mend="Give images, pair shards, or videos in which something moves.",
    )
