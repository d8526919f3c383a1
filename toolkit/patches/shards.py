"""Pair shards: WebDataset tar files of KEY.json, KEY.positive.jpg and KEY.query.jpg.

They are read by position (one scan of the headers, then `pread`), so that any pair can be
had in any order without unpacking, and a shard is never trusted: members are checked
against the format and bounded in size. docs/formats.md has the written specification.
"""

import io
import json
import math
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ShardError
from toolkit.images import RgbImage, decode_image
from toolkit.records import PatchPair
from toolkit.workspace import atomic_file, parse_json

PARTS = ("json", "positive.jpg", "query.jpg")
MAX_MEMBER_BYTES = 16 * 1024 * 1024
MAX_JSON_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class PairSample:
    """One pair on its way into a shard: the record and its two JPEG files."""

    pair: PatchPair
    query_jpeg: bytes
    positive_jpeg: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes in a shard."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class StoredPair:
    """One pair in a shard: its record, and where its two patches lie."""

    pair: PatchPair
    shard: Path
    query: Span
    positive: Span

    def read_query(self) -> RgbImage:
        """Decode the query patch, uint8 RGB. Raises ShardError or ImageError."""
        return decode_image(self.read_bytes("query.jpg"), name=self.name("query.jpg"))

    def read_positive(self) -> RgbImage:
        """Decode the positive patch, uint8 RGB. Raises ShardError or ImageError."""
        return decode_image(self.read_bytes("positive.jpg"), name=self.name("positive.jpg"))

    def name(self, part: str) -> str:
        """What messages call a part."""
        return f"{self.shard}:{self.pair.key}.{part}"

    def read_bytes(self, part: str) -> bytes:
        """The file "query.jpg" or "positive.jpg" as it lies in the shard. Raises ShardError."""
        span = self.query if part == "query.jpg" else self.positive
        try:
            handle = os.open(self.shard, os.O_RDONLY)
            try:
                content = os.pread(handle, span.size, span.offset)
            finally:
                os.close(handle)
        except OSError as error:
            raise ShardError(f"Cannot read {self.name(part)}: {error.strerror}.") from error
        if len(content) != span.size:
            raise ShardError(f"{self.name(part)} is cut short.", mend="Mine the video again.")
        return content


def write_shard(target: Path, samples: Iterable[PairSample]) -> int:
    """Write a shard atomically and return the number of pairs in it.

    The same samples give the same bytes: members are sorted within a pair and carry no
    clock, owner or umask. Raises StorageError.
    """
    count = 0
    with atomic_file(target) as draft, tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            record = json.dumps(sample.pair.as_json(), sort_keys=True).encode()
            contents = (record, sample.positive_jpeg, sample.query_jpeg)
            for part, content in zip(PARTS, contents, strict=True):
                member = tarfile.TarInfo(f"{sample.pair.key}.{part}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            count += 1
    return count


def find_shards(source: Path) -> list[Path]:
    """The shards of a folder in the order of their names, or the one shard given."""
    if source.is_file():
        return [source]
    return sorted(path for path in source.glob("*.tar") if not path.name.startswith("."))


def read_shard(shard: Path) -> list[StoredPair]:
    """Scan one shard. Raises ShardError for anything that is not a whole, plain shard."""
    members: dict[str, dict[str, Span]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, part = _check_member(member)
                parts = members.setdefault(key, {})
                if part in parts:
                    raise ShardError(f"the member {member.name} appears twice")
                parts[part] = Span(member.offset_data, member.size)
            end = tar.offset
        with shard.open("rb") as stream:
            if end > os.fstat(stream.fileno()).st_size:
                raise ShardError("the file is cut short")
            return [_stored_pair(shard, stream.fileno(), key, members[key]) for key in members]
    except (tarfile.TarError, OSError) as error:
        raise ShardError(f"{shard} is no readable pair shard: {error}.") from error
    except ShardError as error:
        raise ShardError(f"{shard} is no pair shard: {error.problem}.") from error


def _check_member(member: tarfile.TarInfo) -> tuple[str, str]:
    key, _, part = member.name.partition(".")
    if not member.isreg() or "/" in member.name or not key or part not in PARTS:
        raise ShardError(f"the member {member.name!r} is not of the format")
    limit = MAX_JSON_BYTES if part == "json" else MAX_MEMBER_BYTES
    if member.size > limit:
        raise ShardError(f"the member {member.name} has {member.size} bytes, over {limit}")
    return key, part


def _stored_pair(shard: Path, handle: int, key: str, parts: dict[str, Span]) -> StoredPair:
    missing = [part for part in PARTS if part not in parts]
    if missing:
        raise ShardError(f"the pair {key} lacks {', '.join(missing)}")
    span = parts["json"]
    try:
        content = parse_json(os.pread(handle, span.size, span.offset))
        pair = PatchPair.from_json(key, content)
        _check_numbers(pair)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ShardError(f"the record of the pair {key} is damaged ({error!r})") from error
    return StoredPair(pair, shard, parts["query.jpg"], parts["positive.jpg"])


def _check_numbers(pair: PatchPair) -> None:
    # Boxes check themselves.
    quality = pair.quality
    numbers = {
        "query.time_s": pair.query.time_s,
        "positive.time_s": pair.positive.time_s,
        "quality.score": quality.score,
        "quality.forward_backward": quality.forward_backward,
        "quality.appearance": quality.appearance,
    }
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}")


def read_pairs(source: Path) -> Sequence[StoredPair]:
    """Every pair of a folder of shards, or of one shard, in a fixed order.

    Raises ShardError for a damaged shard, and for a key that appears in two of them.
    """
    pairs: list[StoredPair] = []
    seen: dict[str, Path] = {}
    for shard in find_shards(source):
        for stored in read_shard(shard):
            first = seen.setdefault(stored.pair.key, shard)
            if first != shard:
                raise ShardError(f"{shard} and {first} both hold the pair {stored.pair.key}.")
            pairs.append(stored)
    return pairs
