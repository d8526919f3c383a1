"""A build under way: the sources one by one, counted, and told to whoever watches."""

import time
from collections.abc import Callable, Iterator, Sequence

from indexes.build.settings import BuildProgress, BuildReport, BuildSettings
from indexes.build.writer import IndexWriter
from indexes.sources import IndexPatch, Source, Watch, printable, read_patches
from indexes.stores import PatchSink
from toolkit.embedding import Embedder
from toolkit.errors import InputError
from toolkit.records import Quarantined
from toolkit.video.decode import DamagedVideoError

OnProgress = Callable[[BuildProgress], None]


class Filling:
    """Takes the sources of a build and counts what became of them."""

    def __init__(
        self,
        writer: IndexWriter,
        sources: Sequence[Source],
        settings: BuildSettings,
        on_progress: OnProgress | None,
    ) -> None:
        self.added = 0
        self.skipped = 0
        self.vectors = 0
        self.quarantined: list[Quarantined] = []
        self._notes: list[str] = []
        self._first: dict[str, Source] = {}  # of this build, by what was read
        self._copies: list[tuple[Source, Source]] = []  # of the same bytes, and the first of them
        self._writer = writer
        self._settings = settings
        self._on_progress = on_progress
        self._total = len(sources)
        # By bytes, or where nobody knows these by sources.
        self._sized = any(source.size_bytes for source in sources)
        self._work = sum(map(self._work_of, sources)) or 1
        self._worked = 0
        self._done = 0
        self._part = 0.0  # of the source that is being read
        self._begun_at = self._committed_at = time.monotonic()

    def report(self, index: str, unreadable: Sequence[Quarantined]) -> BuildReport:
        """What was done, up to now; unreadable: what was set aside before it began."""
        return BuildReport(
            index,
            self.added,
            self.skipped,
            self.vectors,
            (*unreadable, *self.quarantined),
            time.monotonic() - self._begun_at,
            tuple(self.notes),
        )

    def take(self, source: Source, sink: PatchSink, embedder: Embedder) -> bool:
        """Index a source, skip it where its content is there, or quarantine it.

        True where it was followed by a commit.
        """
        before = self._writer.uncommitted
        self._part = 0.0
        self._tell(source, 0)
        try:
            sha256 = source.sha256()
            first = self._first.setdefault(f"{source.kind} {sha256}", source)
            if sink.has_input(source, sha256):
                self.skipped += 1
                if first is not source:
                    self._copies.append((source, first))
            else:
                watch = Watch(self._note_part, self.note)
                reading = self._settings.reading
                patches = read_patches(source, sha256, reading, embedder, watch)
                self._writer.add(source, sha256, self._told(source, patches))
                self.added += 1
        except DamagedVideoError as error:  # what could be read of it is in
            self.added += 1
            self._quarantine(source, error)
        except InputError as error:
            self._quarantine(source, error)
        self._done += 1
        self._worked += self._work_of(source)
        self.vectors += self._writer.uncommitted - before
        return self._commit_in_time()

    def note(self, text: str) -> None:
        """Tell people something, once; an empty text is nothing."""
        if text and text not in self._notes:
            self._notes.append(text)

    @property
    def notes(self) -> list[str]:
        """What was taken for granted, for people."""
        if not self._copies:
            return self._notes
        copy, first = (printable(source.path) for source in self._copies[0])
        more = len(self._copies) - 1
        like = f", and so do {more} more" if more else ""
        return [*self._notes, f"{copy} has the bytes of {first} and counts once with it{like}."]

    def _commit_in_time(self) -> bool:
        if self._settings.overwrite or not self._writer.uncommitted:
            return False
        waited = time.monotonic() - self._committed_at
        enough = self._writer.uncommitted >= self._settings.commit_vectors
        if not (enough or waited >= self._settings.commit_s):
            return False
        self._writer.commit()
        self._committed_at = time.monotonic()
        return True

    def _told(self, source: Source, patches: Iterator[IndexPatch]) -> Iterator[IndexPatch]:
        for count, patch in enumerate(patches, start=1):
            yield patch
            if count % self._settings.batch == 0:
                self._tell(source, count)

    def _tell(self, source: Source, patches: int) -> None:
        if self._on_progress is not None:
            worked = self._worked + self._part * self._work_of(source)
            self._on_progress(
                BuildProgress(
                    printable(source.path),
                    self._done,
                    self._total,
                    self.vectors + patches,
                    share=worked / self._work,
                )
            )

    def _work_of(self, source: Source) -> int:
        return source.size_bytes if self._sized else 1

    def _note_part(self, share: float) -> None:
        self._part = share

    def _quarantine(self, source: Source, error: InputError) -> None:
        self.quarantined.append(Quarantined(printable(source.path), error.problem))
