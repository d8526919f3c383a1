"""What can be indexed, and the patches in it: pictures, videos, pair shards, tables of vectors."""

from indexes.sources.cut import Cut
from indexes.sources.find import find_sources
from indexes.sources.read import SILENT, Watch, read_patches
from indexes.sources.reading import Reading
from indexes.sources.records import IndexPatch, Origin, Source, SourceKind, printable

__all__ = [
    "SILENT",
    "Cut",
    "IndexPatch",
    "Origin",
    "Reading",
    "Source",
    "SourceKind",
    "Watch",
    "find_sources",
    "printable",
    "read_patches",
]
