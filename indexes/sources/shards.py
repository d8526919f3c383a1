"""The patches of a pair shard: the sightings of its tracks."""

from collections.abc import Iterator
from pathlib import Path

from indexes.sources.pictures import rounded
from indexes.sources.records import IndexPatch, Origin, printable
from indexes.sources.watch import Watch
from toolkit.patches.shards import read_shard
from toolkit.records import Sighting


def shard_patches(shard: Path, watch: Watch) -> Iterator[IndexPatch]:
    """Each sighting of each track once, under the name of its video. Raises ShardError."""
    seen: set[tuple[str, Sighting]] = set()
    pairs = read_shard(shard)
    for count, stored in enumerate(pairs, start=1):
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
                box = rounded(sighting.box)
                yield IndexPatch(origin, sighting.time_s, box, pair.track, read())
        watch.part(count / len(pairs))
