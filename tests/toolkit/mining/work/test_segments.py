"""A video in segments: each mined by itself, named by its place, joined to one shard."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.images import encode_jpeg
from toolkit.mining.mined import View
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.regions import moving_regions
from toolkit.mining.segments import SEGMENT_S, segments_of, track_name
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.mining.work.finish import merged
from toolkit.mining.work.ledger import Ledger
from toolkit.mining.work.parts import Part, Parts, content_bytes, digest_of
from toolkit.mining.work.run import How, mine
from toolkit.mining.work.unit import Source, Stamp
from toolkit.patches.relations import followed_as
from toolkit.patches.shards import PairSample, read_pairs, write_shard
from toolkit.records import Box, PatchPair, Sighting, TrackQuality
from toolkit.video.decode import frames
from toolkit.video.timeline import Segment
from toolkit.workspace import sha256_file


def part(**changes):
    plain = Part("d", "done", "", 10.0, 100, 3, 2, {"cuts": 1}, 0)
    return replace(plain, **changes)


def sample(number):
    noise = np.random.default_rng(number).integers(0, 256, (30 + number % 7, 20, 3), np.uint8)
    pair = PatchPair(
        f"key-{number:04d}", "a" * 64, "a.mp4", "a", "t",
        Sighting(1, Box(1, 2, 3, 4)), Sighting(2, Box(1, 2, 3, 4)), TrackQuality(1, 0, 1), 1, 2,
    )  # fmt: skip
    return PairSample(pair, encode_jpeg(noise), encode_jpeg(noise[::-1]))


def test_the_pairs_of_a_video_are_those_of_its_segments_mined_one_by_one(
    clips, settings, segment_s, tmp_path
):
    path = clips / "a.mp4"
    mine([path], tmp_path / "p", settings, None, How(segment_s=segment_s))
    found = [
        (stored.pair.track, stored.pair.query, stored.pair.positive)
        for stored in read_pairs(tmp_path / "p")
    ]
    sha256 = sha256_file(path)
    expected = []
    for index, (start_s, end_s) in enumerate([(0, 2), (2, 4), (4, 9)]):
        footage = [frame for frame in frames(path) if start_s <= frame.time_s < end_s]
        for pair in mined_pairs(footage, settings, Tally()):
            name = f"{sha256[:12]}-{index:04d}-{pair.query.track:04d}"
            expected.append((name, pair.query.sighting, pair.positive.sighting))
    rounded = [
        (name, *(replace(s, time_s=round(s.time_s, 3)) for s in ends)) for name, *ends in expected
    ]
    assert [(name, q.time_s, p.time_s) for name, q, p in found] == [
        (name, q.time_s, p.time_s) for name, q, p in rounded
    ]
    assert len({name.split("-")[1] for name, *_ in found}) == 3


def test_an_index_of_a_video_names_the_tracks_as_its_pairs_do(clips, settings, segment_s, tmp_path):
    path = clips / "b.mp4"
    mine([path], tmp_path / "p", settings, None, How(segment_s=segment_s))
    pairs = [stored.pair for stored in read_pairs(tmp_path / "p")]
    ends = {(pair.track, s.time_s) for pair in pairs for s in (pair.query, pair.positive)}
    regions = list(moving_regions(path, settings, segment_s=segment_s))
    assert {(r.track, round(r.sighting.time_s, 3)) for r in regions} == ends
    assert len(regions) == len(ends)
    assert {track.split("-")[1] for track, _ in ends} == {"0000", "0001"}


def test_keys_are_unique_and_say_track_and_time(clips, settings, segment_s, tmp_path):
    mine([clips], tmp_path / "p", settings, None, How(segment_s=segment_s))
    pairs = [stored.pair for stored in read_pairs(tmp_path / "p")]
    assert len({pair.key for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert pair.key == f"{pair.track}-{round(pair.query.time_s * 1000):08d}"


def test_segments_are_the_default_ones_and_a_short_clip_has_one(moving_clip):
    assert 120 <= SEGMENT_S <= 300
    assert segments_of(moving_clip) == [Segment(0)]


@pytest.mark.parametrize(("run", "name"), [(0, "0012"), (3, "0012r3")])
def test_a_track_is_named_after_its_video_segment_and_run(run, name):
    view = View(12, Sighting(1.0, Box(0, 0, 1, 1)), np.zeros((1, 1, 3), np.uint8), run)
    assert track_name("ab" * 32, 7, view) == f"abababababab-0007-{name}"
    assert followed_as(track_name("ab" * 32, 7, view)) == "abababababab-0007-0012"


def test_a_region_of_a_damaged_video_comes_before_its_error(cut_clip, text_clip):
    from toolkit.errors import VideoError
    from toolkit.video.decode import DamagedVideoError

    regions = moving_regions(cut_clip)
    assert next(regions).track
    with pytest.raises(DamagedVideoError, match="cut"):
        list(regions)
    with pytest.raises(VideoError, match="no video that can be read"):
        list(moving_regions(text_clip))


@pytest.mark.parametrize("sizes", [[3], [2, 0, 3], [0, 1, 1], [40, 40]])
def test_parts_join_to_the_shard_that_writing_all_pairs_gives(sizes, tmp_path):
    numbers = iter(range(sum(sizes)))
    parts, made = Parts(tmp_path, "ab" * 32), []
    for segment, size in enumerate(sizes):
        if size:
            write_shard(parts.tar(segment), [sample(next(numbers)) for _ in range(size)])
        bytes_ = content_bytes(parts.tar(segment)) if size else 0
        made.append(part(pairs=size, content_bytes=bytes_))
    parts.join(tmp_path / "joined.tar", made)
    write_shard(tmp_path / "whole.tar", map(sample, range(sum(sizes))))
    assert (tmp_path / "joined.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()
    with tarfile.open(tmp_path / "joined.tar") as tar:
        assert len(tar.getnames()) == 3 * sum(sizes)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda record, tar: record.write_text("{"),
        lambda record, tar: record.write_text('{"version": 1}'),
        lambda record, tar: record.unlink(),
        lambda record, tar: tar.unlink(),
        lambda record, tar: tar.write_bytes(tar.read_bytes()[:2000]),
        lambda record, tar: record.write_text(record.read_text().replace('"d"', '"other"')),
        lambda record, tar: record.write_text(record.read_text().replace('sion": 2', 'sion": 3')),
    ],
)
def test_a_part_that_is_damaged_or_of_other_settings_counts_as_not_there(break_it, tmp_path):
    parts = Parts(tmp_path, "ab" * 32)
    write_shard(parts.tar(0), [sample(0), sample(1)])
    made = part(content_bytes=content_bytes(parts.tar(0)))
    parts.add(0, made)
    assert parts.get(0, "d") == made
    break_it(parts.tar(0).with_suffix(".json"), parts.tar(0))
    assert parts.get(0, "d") is None


def test_a_digest_tells_apart_what_the_bytes_depend_on():
    path, camera, segment, settings = Path("a.mp4"), "gate", Segment(0, None, 9.0), MiningSettings()
    digests = {
        digest_of(path, camera, segment, settings),
        digest_of(Path("b.mp4"), camera, segment, settings),
        digest_of(path, "yard", segment, settings),
        digest_of(path, camera, Segment(0, None, 10.0), settings),
        digest_of(path, camera, segment, MiningSettings(gap_s=1.0)),
    }
    assert len(digests) == 5
    assert digest_of(path, camera, segment, settings) in digests


@pytest.mark.parametrize(
    ("parts", "status", "reason"),
    [
        ([part()], "done", ""),
        ([part(), part(status="partial", reason="Cut.")], "partial", "Cut."),
        ([part(status="quarantined", reason="Bad.", frames=0)], "quarantined", "Bad."),
        ([part(status="quarantined", reason="Bad."), part()], "partial", "Bad."),
        (
            [part(status="partial", reason="No frame.", frames=0)] * 2,
            "quarantined",
            "No frame. So it is with 2 of its 2 segments.",
        ),
    ],
)
def test_a_video_is_what_its_segments_are(parts, status, reason):
    source = Source(Path("a.mp4"), "ab" * 32, "gate", Stamp(1, 2))
    entry = merged(source, MiningSettings(), parts)
    assert (entry.status, entry.reason) == (status, reason)
    assert (entry.frames, entry.tracks, entry.pairs, entry.segments) == (
        sum(p.frames for p in parts), 3 * len(parts), 2 * len(parts), len(parts),
    )  # fmt: skip
    assert entry.rejected == {"cuts": len(parts)}
    assert entry.footage_s == 10.0 * len(parts)


def test_a_video_with_one_bad_segment_keeps_the_pairs_of_the_others(
    clips, settings, segment_s, tmp_path
):
    content = bytearray((clips / "a.mp4").read_bytes())
    middle = range(len(content) * 45 // 100, len(content) * 55 // 100)
    for place in middle:
        content[place] = place * 97 % 251
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(content)
    report = mine([bad], tmp_path / "p", settings, None, How(segment_s=segment_s))
    entry = Ledger(tmp_path / "p").get(sha256_file(bad))
    assert entry is not None
    assert entry.status == "partial"
    assert [q.reason for q in report.quarantined] == [entry.reason]
    tracks = {stored.pair.track.split("-")[1] for stored in read_pairs(tmp_path / "p")}
    assert {"0000", "0002"} <= tracks


def test_the_ledger_says_what_camera_and_in_how_many_segments(clips, settings, segment_s, tmp_path):
    from toolkit.mining.cameras import CameraRule

    how = How(segment_s=segment_s, cameras=CameraRule(name="gate"))
    mine([clips], tmp_path / "p", settings, None, how)
    entries = {Path(entry.path).name: entry for entry in Ledger(tmp_path / "p").entries()}
    assert {name: entry.segments for name, entry in entries.items()} == {
        "a.mp4": 3, "b.mp4": 2, "c.mp4": 1,
    }  # fmt: skip
    assert {entry.camera for entry in entries.values()} == {"gate"}
    assert {stored.pair.camera for stored in read_pairs(tmp_path / "p")} == {"gate"}
    again = mine([clips], tmp_path / "p", settings, None, How(segment_s=segment_s))
    assert len(again.other_settings) == 3  # they were mined for another camera
    record = json.loads(next((tmp_path / "p" / "ledger").iterdir()).read_text())
    assert record["version"] == 1
