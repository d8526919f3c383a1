"""Thousands of queries: read ahead, embedded and looked up some at a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from indexes.search.hits import Hit
from indexes.search.index import PatchIndex
from indexes.search.pictures import read_example
from indexes.search.query_list import TABLE_SUFFIXES, Line, count_lines, read_lines
from indexes.search.query_vectors import NamedVectors, open_vectors, read_vectors
from indexes.search.settings import SearchSettings
from indexes.sources import Watch, printable
from toolkit.embedding import Embedder, chunks
from toolkit.errors import InputError, UsageError
from toolkit.images import IMAGE_SUFFIXES, RgbImage
from toolkit.records import Quarantined
from toolkit.video.find import VIDEO_SUFFIXES

_PICTURES = 64  # embedded at once
_AT_ONCE = 256  # looked up at once
_READERS = 4  # threads: decoding and resizing let go of the interpreter

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A query by its name, and its hits, best first."""

    query: str
    hits: list[Hit]


@dataclass(frozen=True, slots=True)
class Batch:
    """A file of queries. total: how many; has_pictures: whether they must be embedded first."""

    path: Path
    total: int
    has_pictures: bool

    @classmethod
    def open(cls, path: Path) -> "Batch":
        """Look at a file. Raises InputError for one that holds no queries."""
        if path.is_dir():
            raise InputError(
                f"{printable(path)} is a folder.", mend="Give a file with a query a line."
            )
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            raise InputError(
                f"{printable(path)} is a query itself, not a list of queries.",
                mend="Leave --batch out: vr search FILE.",
            )
        if path.suffix.lower() in TABLE_SUFFIXES:
            return cls(path, open_vectors(path).vectors, has_pictures=False)
        return cls(path, count_lines(path), has_pictures=True)


def answer_batch(
    index: PatchIndex,
    batch: Batch,
    embedder: Embedder | None,
    k: int,
    settings: SearchSettings,
    note: Note = lambda _: None,
) -> Iterator[Answer | Quarantined]:
    """The answer to each query, or why there is none, nearly in the order of the file.

    embedder: of the index's model, None for a batch of vectors. note: told what is taken for
    granted. Memory holds some dozen pictures or some thousand vectors. Raises InputError,
    MismatchError for vectors of another model.
    """
    if embedder is None:
        blocks = read_vectors(batch.path, index.card, Watch(lambda _: None, note))
    else:
        blocks = _picture_blocks(batch.path, embedder)
    for block in blocks:
        yield from block.unusable
        for some in chunks(len(block.names), _AT_ONCE):
            found = index.search_each(block.vectors[some], k, settings)
            yield from map(Answer, block.names[some], found)


def _picture_blocks(path: Path, embedder: Embedder) -> Iterator[NamedVectors]:
    """The next block is read while one is embedded."""
    spec = embedder.card.preprocessing
    with ThreadPoolExecutor(_READERS) as pool:

        def fitted(line: Line) -> RgbImage:
            if line.problem:
                raise InputError(line.problem)
            return spec.fit(read_example(line.text, line.box).image)

        lines = read_lines(path)
        reading: list[tuple[str, Future[RgbImage]]] = []
        while True:
            now = reading
            reading = [(line.name, pool.submit(fitted, line)) for line in islice(lines, _PICTURES)]
            if now:
                names, images, unreadable = _collected(now)
                yield NamedVectors(names, embedder.embed(spec.fit_batch(images)), unreadable)
            elif not reading:
                return


def _collected(
    reading: Sequence[tuple[str, Future[RgbImage]]],
) -> tuple[list[str], list[RgbImage], list[Quarantined]]:
    names: list[str] = []
    images: list[RgbImage] = []
    unreadable: list[Quarantined] = []
    for name, future in reading:
        try:
            images.append(future.result())
        except (InputError, UsageError) as error:
            unreadable.append(Quarantined(name, error.problem))
        else:
            names.append(name)
    return names, images, unreadable
