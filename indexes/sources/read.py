"""A source to the patches in it, one after the other."""

from collections.abc import Iterator

from indexes.sources.pictures import image_patches
from indexes.sources.reading import Reading
from indexes.sources.records import IndexPatch, Source
from indexes.sources.shards import shard_patches
from indexes.sources.videos import video_patches
from indexes.sources.watch import SILENT, Watch
from toolkit.embedding import Embedder, WindowEmbedder
from toolkit.errors import UsageError

__all__ = ["SILENT", "Watch", "read_patches"]


def read_patches(
    source: Source,
    sha256: str,
    reading: Reading,
    embedder: Embedder,
    watch: Watch = SILENT,
) -> Iterator[IndexPatch]:
    """Stream the patches of a source, whose bytes have the given SHA-256.

    embedder: what the index is filled with; a WindowEmbedder for a dense reading, and for
    tables of vectors the model that they have to come from.

    Raises ImageError, ShardError, VideoError or InputError for what cannot be read, perhaps
    after some patches; DamagedVideoError after all that a damaged video has; MismatchError
    for vectors of another model or dimension; UsageError for a dense reading without a
    WindowEmbedder.
    """
    if reading.dense and not isinstance(embedder, WindowEmbedder):
        raise UsageError(
            "This model embeds no windows of large pictures.",
            mend="Give a bundle that was exported with `vr export --dense`.",
        )
    match source.kind:
        case "image":
            return image_patches(source.path, sha256, reading, embedder, watch)
        case "video":
            return video_patches(source.path, sha256, reading, embedder, watch)
        case "shard":
            return shard_patches(source.path, watch)
        case "table":
            from indexes.sources.tables import table_patches

            return table_patches(source, embedder.card, watch)
