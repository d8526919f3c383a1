"""How many vectors sources will give, as far as that can be told without reading them all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from indexes.sources import Reading, Source, printable
from toolkit.errors import VrError


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of sources before they are read.

    sources: how many there are; vectors: that they give; unknown: how many of them, such as
    videos, give more than that.
    """

    sources: int
    vectors: int
    unknown: int


def expect(sources: Sequence[Source], reading: Reading) -> Expected:
    """Count tables, shards and whole pictures; what cannot be read gives nothing."""
    counted, unknown = 0, 0
    for source in sources:
        count = _count(source, reading)
        counted += count or 0
        unknown += count is None
    return Expected(len(sources), counted, unknown)


def not_listed(sources: Sequence[Source], inputs: Iterable[tuple[str, str, str]]) -> list[Source]:
    """The sources that were not read before, going by path, kind and reading.

    Whether the content is another one by now takes reading it, which the build does.
    """
    new: dict[tuple[str, str, str], Source] = {
        (printable(source.path), source.kind, source.reading): source for source in sources
    }
    for read in inputs:
        new.pop(read, None)
    return list(new.values())


def _count(source: Source, reading: Reading) -> int | None:
    try:
        match source.kind:
            case "image":
                return None if reading.cuts else 1
            case "video":
                return None
            case "shard":
                return _count_shard(source)
            case "table":
                return _count_table(source)
    except VrError:  # the build itself says what is wrong with it
        return 0


def _count_shard(source: Source) -> int:
    from toolkit.patches.shards import read_shard

    pairs = [stored.pair for stored in read_shard(source.path)]
    return len({(pair.track, s) for pair in pairs for s in (pair.query, pair.positive)})


def _count_table(source: Source) -> int:
    from indexes.sources.tables import open_table

    return open_table(source).vectors
