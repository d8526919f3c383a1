"""What can be indexed, and the patches in it: images, pair shards, videos."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import InputError
from toolkit.images import IMAGE_SUFFIXES, RgbImage, read_image
from toolkit.mining.settings import MiningSettings
from toolkit.patches.shards import find_shards, read_shard
from toolkit.records import Box, Sighting
from toolkit.video.find import OWN_FOLDERS, VIDEO_SUFFIXES, is_special
from toolkit.workspace import sha256_file

SourceKind = Literal["image", "video", "shard"]
SHARD_SUFFIX = ".tar"


@dataclass(frozen=True, slots=True)
class Source:
    """One file to index, and how it is read."""

    path: Path
    kind: SourceKind

    def sha256(self) -> str:
        """The identity of its content. Raises InputError where it cannot be read."""
        try:
            return sha256_file(self.path)
        except OSError as error:
            raise InputError(f"Cannot read {printable(self.path)}: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class Origin:
    """The image or the video that a patch comes from, as a hit names it.

    sha256: of that file's bytes; camera: what films, None for an image.
    """

    path: str
    sha256: str
    kind: Literal["image", "video"]
    camera: str | None


@dataclass(frozen=True, slots=True)
class IndexPatch:
    """One picture to index. time_s: PTS seconds, None in an image; box: in its original."""

    origin: Origin
    time_s: float | None
    box: Box
    track: str | None
    image: RgbImage


def printable(path: Path | str) -> str:
    """The path as text that any database and terminal takes; odd bytes become \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """The files that `paths` mean, each once, in a fixed order.

    A file is a shard (.tar), an image by its suffix, or else taken for a video. A folder
    with shards in it (`patches/`) stands for these alone, since the pictures beside them
    are reports. Any other folder is walked, sorted, for images and videos; hidden folders
    and those that vr writes are passed over. Raises InputError for a path that is not there
    and for a folder that may not be read.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        if not path.exists():
            raise InputError(
                f"There is no file or folder {printable(path)}.",
                mend="Give images, videos, pair shards, or folders of them.",
            )
        if is_special(path):
            raise InputError(f"{printable(path)} is no plain file.", mend="Give files or folders.")
        try:
            for source in _sources_in(path):
                found.setdefault(source.path, source)
        except OSError as error:
            name = printable(Path(error.filename or path))
            raise InputError(f"Cannot read {name}: {error.strerror}.") from error
    return list(found.values())


def _sources_in(path: Path) -> Iterable[Source]:
    if path.is_file():
        return [Source(path, _kind_by_suffix(path) or "video")]
    shards = find_shards(path)
    return [Source(shard, "shard") for shard in shards] if shards else _walk(path)


def _walk(folder: Path) -> Iterator[Source]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            # A linked folder could lead back up and be walked for ever.
            if path.name not in OWN_FOLDERS and not path.is_symlink():
                yield from _walk(path)
        elif (kind := _kind_by_suffix(path)) in ("image", "video") and not is_special(path):
            yield Source(path, kind)


def _kind_by_suffix(path: Path) -> SourceKind | None:
    suffix = path.suffix.lower()
    if suffix == SHARD_SUFFIX:
        return "shard"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def read_patches(source: Source, sha256: str, mining: MiningSettings) -> Iterator[IndexPatch]:
    """Stream the patches of a source, whose bytes have the given SHA-256.

    Raises ImageError, ShardError or VideoError for what cannot be read, perhaps after some
    patches; DamagedVideoError after all that a damaged video has.
    """
    if source.kind == "image":
        return _image_patches(source.path, sha256)
    if source.kind == "shard":
        return _shard_patches(source.path)
    return _video_patches(source.path, sha256, mining)


def _image_patches(path: Path, sha256: str) -> Iterator[IndexPatch]:
    image = read_image(path)
    height, width = image.shape[:2]
    origin = Origin(printable(path), sha256, "image", None)
    yield IndexPatch(origin, None, Box(0.0, 0.0, width, height), None, image)


def _shard_patches(shard: Path) -> Iterator[IndexPatch]:
    seen: set[tuple[str, Sighting]] = set()
    for stored in read_shard(shard):
        pair = stored.pair
        # A pair carries names as they were given, odd bytes and all.
        path, camera = printable(pair.path), printable(pair.camera)
        origin = Origin(path, pair.video, "video", camera)
        for sighting, read in (
            (pair.query, stored.read_query),
            (pair.positive, stored.read_positive),
        ):
            if (pair.track, sighting) not in seen:
                seen.add((pair.track, sighting))
                yield IndexPatch(origin, sighting.time_s, sighting.box, pair.track, read())


def _video_patches(path: Path, sha256: str, mining: MiningSettings) -> Iterator[IndexPatch]:
    from toolkit.mining.regions import moving_regions

    origin = Origin(printable(path), sha256, "video", path.stem)
    for region in moving_regions(path, mining):
        where = region.sighting
        yield IndexPatch(origin, where.time_s, where.box, region.track, region.patch)
