"""The sightings in a pair shard."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from indexes.sources import Reading, Source, Watch, read_patches
from toolkit.errors import ShardError
from toolkit.images import decode_image
from toolkit.patches.shards import PairSample
from toolkit.records import Box, Sighting


def stream(path, embedder, watch=None):
    told = {} if watch is None else {"watch": watch}
    return list(read_patches(Source(path, "shard", "pairs"), "0" * 64, Reading(), embedder, **told))


def test_a_shard_gives_each_sighting_once_under_the_name_of_its_video(
    tmp_path, pair, shard, embedder
):
    # Three pairs along one track share two patches; the other track has its own times.
    samples = [
        pair(1, (0.0, 1.0)),
        pair(1, (1.0, 2.0)),
        pair(1, (2.0, 3.0)),
        pair(2, (0.0, 1.0)),
    ]
    shares = []
    path = shard(tmp_path / "s.tar", samples)
    patches = stream(path, embedder, Watch(shares.append, lambda note: None))
    found = {(p.track, p.time_s): p for p in patches}
    wanted = {
        (s.pair.track, at.time_s): (at.box, jpeg)
        for s in samples
        for at, jpeg in ((s.pair.query, s.query_jpeg), (s.pair.positive, s.positive_jpeg))
    }
    assert len(patches) == len(found) == 6
    assert found.keys() == wanted.keys()
    for key, (box, jpeg) in wanted.items():
        assert found[key].box == tuple(box.as_list())
        np.testing.assert_array_equal(found[key].image, decode_image(jpeg, name="oracle"))
    origin = patches[0].origin
    assert (origin.path, origin.kind, origin.camera) == ("clips/street.mp4", "video", "street")
    assert origin.sha256 == hashlib.sha256(b"street").hexdigest()
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_boxes_are_kept_to_a_tenth_of_a_pixel_and_none_vanishes(tmp_path, pair, shard, embedder):
    sample = pair(1, (0.0, 1.0))
    query = Sighting(0.0, Box(1.23, 4.06, 9.99, 8.0))
    tiny = Sighting(1.0, Box(5.01, 5.01, 5.02, 5.02))
    odd = PairSample(
        replace(sample.pair, query=query, positive=tiny), sample.query_jpeg, sample.positive_jpeg
    )
    patches = stream(shard(tmp_path / "s.tar", [odd]), embedder)
    assert patches[0].box == (1.2, 4.1, 10.0, 8.0)
    x0, y0, x1, y1 = patches[1].box
    assert x0 < x1
    assert y0 < y1


def test_a_text_file_named_tar_is_a_shard_error(tmp_path, embedder):
    (tmp_path / "x.tar").write_text("no shard")
    with pytest.raises(ShardError, match=r"x\.tar"):
        stream(tmp_path / "x.tar", embedder)
