"""Building: exact counts in SQLite, only what is new, one model, nothing half-made."""

import sqlite3
from dataclasses import dataclass

import faiss
import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.settings import BuildSettings
from indexes.info import info
from toolkit.embedding import embed_images
from toolkit.errors import InputError, MismatchError, UsageError, VideoError
from toolkit.images import RgbImage, decode_image
from toolkit.records import Box, Sighting
from toolkit.video.decode import DamagedVideoError

COUNTS = """SELECT (SELECT count(*) FROM inputs), (SELECT count(*) FROM sources),
            (SELECT count(*) FROM segments), (SELECT count(*) FROM patches),
            (SELECT count(*) FROM thumbnails)"""


@dataclass
class Region:
    track: str
    sighting: Sighting
    patch: RgbImage


@pytest.fixture
def fake_video(tmp_path, monkeypatch, picture_of):
    """fake_video(name, regions, error): a file whose moving regions are made up."""
    videos = {}

    def moving_regions(path, settings):
        count, error = videos[path]
        for i in range(count):
            where = Sighting(i / 2, Box(i, 0, i + 9, 9))
            yield Region(f"{path.stem}-{i // 4}", where, picture_of(500 + i))
        if error is not None:
            raise error

    monkeypatch.setattr("toolkit.mining.regions.moving_regions", moving_regions)

    def make(name, count, error=None):
        path = tmp_path / name
        path.write_bytes(name.encode())
        videos[path] = (count, error)
        return path

    return make


def stored_vectors(index, rows):
    """(id, vector) of each patch, read with plain SQLite, NumPy and FAISS."""
    vectors = {}
    for (stem,) in rows(index, "SELECT stem FROM segments ORDER BY id"):
        flat = faiss.read_index(str(index / "segments" / f"{stem}.flat.faiss"))
        ids = np.load(index / "segments" / f"{stem}.rows.npy")[:, 0]
        vectors |= {int(key): flat.reconstruct(row) for row, key in enumerate(ids)}
    living = [key for (key,) in rows(index, "SELECT id FROM patches ORDER BY id")]
    return {key: vectors[key] for key in living}


def test_images_are_indexed_with_the_vectors_the_model_gives(
    tmp_path, pictures, picture_of, embedder, rows
):
    paths = pictures(5)
    report = build(tmp_path / "index", paths, embedder, BuildSettings(batch=2))
    assert (report.added, report.skipped, report.vectors, report.quarantined) == (5, 0, 5, ())
    assert rows(tmp_path / "index", COUNTS) == [(5, 5, 1, 5, 5)]
    expected = embed_images(embedder, [picture_of(seed) for seed in range(5)])
    vectors = stored_vectors(tmp_path / "index", rows)
    np.testing.assert_allclose(np.stack(list(vectors.values())), expected, atol=1e-6)
    listed = rows(tmp_path / "index", "SELECT path, kind, camera FROM sources ORDER BY id")
    assert listed == [(str(path), "image", None) for path in paths]
    where = rows(tmp_path / "index", "SELECT DISTINCT time_s, x0, y0, x1, y1, track FROM patches")
    assert where == [(None, 0, 0, 56, 40, None)]


def test_one_image_makes_an_index(tmp_path, pictures, embedder, rows):
    build(tmp_path / "index", pictures(1), embedder)
    assert rows(tmp_path / "index", COUNTS) == [(1, 1, 1, 1, 1)]


def test_thumbnails_are_small_jpegs_of_the_patch(tmp_path, embedder, rows):
    from PIL import Image

    gradient = np.linspace(0, 255, 300).astype(np.uint8)
    wide = np.broadcast_to(gradient[None, :, None], (100, 300, 3))
    Image.fromarray(np.ascontiguousarray(wide)).save(tmp_path / "wide.png")
    build(tmp_path / "index", [tmp_path / "wide.png"], embedder)
    ((jpeg,),) = rows(tmp_path / "index", "SELECT jpeg FROM thumbnails")
    small = decode_image(jpeg, name="thumbnail")
    assert small.shape == (32, 96, 3)
    assert np.abs(small[16, ::8, 0].astype(int) - gradient[1::25].astype(int)).max() < 12


def test_building_again_embeds_only_what_is_new(tmp_path, pictures, embedder, rows):
    pictures(3)
    build(tmp_path / "index", [tmp_path / "pictures"], embedder)
    before = rows(tmp_path / "index", "SELECT * FROM patches")
    pictures([7, 8])
    embedder.seen = 0
    report = build(tmp_path / "index", [tmp_path / "pictures"], embedder)
    assert (report.added, report.skipped, report.vectors, embedder.seen) == (2, 3, 2, 2)
    assert rows(tmp_path / "index", COUNTS) == [(5, 5, 2, 5, 5)]
    assert rows(tmp_path / "index", "SELECT * FROM patches WHERE id <= 3") == before
    again = build(tmp_path / "index", [tmp_path / "pictures"], embedder)
    assert (again.added, again.skipped, again.vectors, embedder.seen) == (0, 5, 0, 2)
    assert rows(tmp_path / "index", COUNTS) == [(5, 5, 2, 5, 5)]


def test_duplicates_by_content_are_indexed_once(tmp_path, pictures, embedder, rows):
    first, second = pictures(2)
    copy = tmp_path / "pictures" / "copy of 0.png"
    copy.write_bytes(first.read_bytes())
    report = build(tmp_path / "index", [first, second, copy], embedder)
    assert (report.added, report.skipped) == (2, 1)
    assert rows(tmp_path / "index", COUNTS) == [(2, 2, 1, 2, 2)]


def test_shards_with_common_patches_index_each_once(tmp_path, pair, shard, embedder, rows):
    folder = tmp_path / "patches"
    # A track that runs on from one shard into the next: its patch at 2 s is in both.
    shard(folder / "a.tar", [pair(1, (0.0, 1.0)), pair(1, (1.0, 2.0))])
    shard(folder / "b.tar", [pair(1, (2.0, 3.0)), pair(2, (0.0, 1.0))])
    build(tmp_path / "index", [folder], embedder)
    assert rows(tmp_path / "index", COUNTS) == [(2, 1, 1, 6, 6)]
    listed = rows(tmp_path / "index", "SELECT path, kind, camera FROM sources")
    assert listed == [("clips/street.mp4", "video", "street")]
    sightings = rows(
        tmp_path / "index",
        "SELECT name, time_s, x0, y1 FROM patches JOIN tracks ON tracks.id = track "
        "ORDER BY patches.id",
    )
    expected = [("street-001", t, 10.0, 53.0 + t) for t in (0.0, 1.0, 2.0, 3.0)]
    assert sightings == [
        *expected,
        ("street-002", 0.0, 20.0, 53.0),
        ("street-002", 1.0, 20.0, 54.0),
    ]


def test_a_video_is_indexed_by_its_moving_regions(tmp_path, fake_video, embedder, rows):
    clip = fake_video("gate.mp4", 10)
    report = build(tmp_path / "index", [clip], embedder, BuildSettings(batch=4))
    assert (report.added, report.vectors) == (1, 10)
    assert rows(tmp_path / "index", "SELECT path, kind, camera FROM sources") == [
        (str(clip), "video", "gate")
    ]
    tracks = "SELECT name, count(*) FROM patches JOIN tracks ON tracks.id = track GROUP BY track"
    assert rows(tmp_path / "index", tracks) == [
        ("gate-0", 4),
        ("gate-1", 4),
        ("gate-2", 2),
    ]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_source_that_fails_in_the_middle_leaves_nothing_behind(
    tmp_path, fake_video, pictures, picture_of, embedder, rows, batch
):
    first, last = pictures(2)
    bad = fake_video("bad.mp4", 7, VideoError("bad.mp4 broke."))
    report = build(tmp_path / "index", [first, bad, last], embedder, BuildSettings(batch=batch))
    assert (report.added, report.vectors) == (2, 2)
    assert [(q.path, q.reason) for q in report.quarantined] == [(str(bad), "bad.mp4 broke.")]
    assert rows(tmp_path / "index", COUNTS) == [(2, 2, 1, 2, 2)]
    expected = embed_images(embedder, [picture_of(0), picture_of(1)])
    vectors = np.stack(list(stored_vectors(tmp_path / "index", rows).values()))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_a_video_that_is_cut_keeps_what_it_has_and_is_told(tmp_path, fake_video, embedder, rows):
    cut = fake_video("cut.mp4", 3, DamagedVideoError("cut.mp4 ends at 1.5 s."))
    report = build(tmp_path / "index", [cut], embedder)
    assert (report.added, report.vectors) == (1, 3)
    assert [q.reason for q in report.quarantined] == ["cut.mp4 ends at 1.5 s."]
    assert rows(tmp_path / "index", COUNTS) == [(1, 1, 1, 3, 3)]


def test_a_truncated_image_in_a_folder_is_quarantined(tmp_path, pictures, embedder, rows):
    paths = pictures(3)
    paths[1].write_bytes(paths[1].read_bytes()[:70])
    report = build(tmp_path / "index", [tmp_path / "pictures"], embedder)
    assert [q.path for q in report.quarantined] == [str(paths[1])]
    assert rows(tmp_path / "index", COUNTS) == [(2, 2, 1, 2, 2)]


def test_a_text_file_named_mp4_is_quarantined(tmp_path, pictures, embedder):
    pytest.importorskip("av")
    (tmp_path / "notes.mp4").write_text("this is no video")
    report = build(tmp_path / "index", [*pictures(1), tmp_path / "notes.mp4"], embedder)
    assert [q.path for q in report.quarantined] == [str(tmp_path / "notes.mp4")]
    assert report.vectors == 1


@pytest.mark.parametrize("what", ["no source", "empty folder", "text file", "nothing moves"])
def test_nothing_to_index_is_said_and_leaves_no_index(tmp_path, fake_video, embedder, what):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.png").write_text("no picture")
    sources = {
        "no source": [],
        "empty folder": [tmp_path / "empty"],
        "text file": [tmp_path / "notes.png"],
        "nothing moves": [fake_video("still.mp4", 0)],
    }
    with pytest.raises(InputError, match="nothing to index"):
        build(tmp_path / "index", sources[what], embedder)
    with pytest.raises(InputError, match="no index"):
        info(tmp_path / "index")
    assert not (tmp_path / "index" / "catalog.sqlite").exists()


def test_a_video_where_nothing_moves_is_not_read_again(tmp_path, fake_video, pictures, embedder):
    still = fake_video("still.mp4", 0)
    build(tmp_path / "index", [*pictures(1), still], embedder)
    report = build(tmp_path / "index", [still], embedder)
    assert (report.added, report.skipped, report.quarantined) == (0, 1, ())


def test_another_model_is_refused_and_named(tmp_path, pictures, embedder, other_embedder, rows):
    build(tmp_path / "index", pictures(2), embedder)
    before = rows(tmp_path / "index", "SELECT * FROM patches")
    with pytest.raises(MismatchError) as caught:
        build(tmp_path / "index", pictures([5]), other_embedder)
    assert caught.value.exit_code == 5
    assert embedder.card.fingerprint[:12] in str(caught.value)
    assert other_embedder.card.fingerprint[:12] in str(caught.value)
    assert "--overwrite" in caught.value.mend
    assert rows(tmp_path / "index", "SELECT * FROM patches") == before


def test_overwrite_builds_anew_for_another_model(
    tmp_path, pictures, picture_of, embedder, other_embedder, rows
):
    build(tmp_path / "index", pictures(4), embedder)
    old = set((tmp_path / "index" / "segments").iterdir())
    build(tmp_path / "index", pictures([2, 9]), other_embedder, BuildSettings(overwrite=True))
    assert rows(tmp_path / "index", COUNTS) == [(2, 2, 1, 2, 2)]
    assert info(tmp_path / "index").model == other_embedder.card.fingerprint
    vectors = np.stack(list(stored_vectors(tmp_path / "index", rows).values()))
    expected = embed_images(other_embedder, [picture_of(2), picture_of(9)])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert not old & set((tmp_path / "index" / "segments").iterdir())


def test_overwrite_with_nothing_readable_keeps_the_old_index(
    tmp_path, pictures, embedder, other_embedder
):
    build(tmp_path / "index", pictures(2), embedder)
    (tmp_path / "bad.png").write_text("no picture")
    settings = BuildSettings(overwrite=True)
    with pytest.raises(InputError, match="nothing to index"):
        build(tmp_path / "index", [tmp_path / "bad.png"], other_embedder, settings)
    kept = info(tmp_path / "index")
    assert (kept.vectors, kept.model) == (2, embedder.card.fingerprint)


def test_commits_fall_between_sources_so_that_little_is_lost(
    tmp_path, fake_video, pictures, embedder, rows
):
    clip = fake_video("long.mp4", 9)
    sources = [*pictures(5), clip]
    build(tmp_path / "index", sources, embedder, BuildSettings(batch=4, commit_vectors=3))
    sizes = rows(tmp_path / "index", "SELECT id, vectors FROM segments ORDER BY id")
    assert sizes == [(1, 3), (2, 11)]
    segment_of = {
        int(key): path.name
        for path in (tmp_path / "index" / "segments").glob("*.rows.npy")
        for key in np.load(path)[:, 0]
    }
    patches = rows(tmp_path / "index", "SELECT source, id FROM patches")
    assert len(patches) == len(segment_of) == 14
    assert len({(source, segment_of[key]) for source, key in patches}) == 6


def test_progress_names_each_source_before_it_is_read(tmp_path, pictures, embedder):
    paths = pictures(3)
    seen = []
    build(tmp_path / "index", paths, embedder, on_progress=seen.append)
    assert [(p.source, p.done, p.total) for p in seen] == [
        (str(path), i, 3) for i, path in enumerate(paths)
    ]
    assert [p.vectors for p in seen] == [0, 1, 2]


def test_progress_goes_on_within_a_long_video(tmp_path, fake_video, embedder):
    clip = fake_video("long.mp4", 7)
    seen = []
    build(tmp_path / "index", [clip], embedder, BuildSettings(batch=3), seen.append)
    assert [(p.done, p.total, p.vectors) for p in seen] == [(0, 1, 0), (0, 1, 3), (0, 1, 6)]


class Broken:
    """An embedder whose vector number `at` is not what its card promises."""

    def __init__(self, embedder, change):
        self._embedder, self._change = embedder, change
        self.card, self.runtime = embedder.card, "broken"

    def embed(self, images):
        return self._change(self._embedder.embed(images))


def poison(value):
    def change(vectors):
        vectors[1] = value
        return vectors

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_vector_that_is_no_direction_names_its_source(tmp_path, pictures, embedder, value):
    paths = pictures(3)
    with pytest.raises(MismatchError, match=paths[1].name):
        build(tmp_path / "index", paths, Broken(embedder, poison(value)))
    assert not (tmp_path / "index" / "catalog.sqlite").exists()


@pytest.mark.parametrize("change", [lambda v: v[:, :-1], lambda v: v[:-1], lambda v: v[None]])
def test_vectors_of_another_shape_are_refused(tmp_path, pictures, embedder, change):
    paths = pictures(3)
    build(tmp_path / "index", paths[:1], embedder)
    with pytest.raises(MismatchError, match=r"shape .* expected") as caught:
        build(tmp_path / "index", paths[1:], Broken(embedder, change))
    assert paths[1].name in str(caught.value)
    assert info(tmp_path / "index").vectors == 1


@pytest.mark.parametrize("setting", ["batch", "commit_vectors"])
def test_a_setting_that_makes_no_sense_is_named(setting):
    with pytest.raises(UsageError, match=setting):
        BuildSettings(**{setting: 0})


def test_info_has_exactly_the_contract(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(3), embedder)
    build(tmp_path / "index", pictures([3, 4]), embedder)
    files = [tmp_path / "index" / "catalog.sqlite", *(tmp_path / "index/segments").iterdir()]
    assert info(tmp_path / "index").as_json() == {
        "index": str(tmp_path / "index"),
        "vectors": 5,
        "dim": 16,
        "kind": "flat",
        "key": "Flat",
        "bytes": sum(path.stat().st_size for path in files),
        "memory_bytes": sum(45 + 4 * 16 * vectors for vectors in (3, 2)),
        "model": embedder.card.fingerprint,
        "segments": 2,
        "measured_recall@10": 1.0,
        "removed": 0,
        "mapped": 0,
        "budget": {"memory_bytes": None, "latency_ms": None, "recall": 0.95, "key": None},
        "inputs": 5,
        "sources": 5,
        "tracks": 0,
        "labels": 0,
    }


def test_odd_paths_are_stored_and_found(tmp_path, pictures, embedder, rows):
    folder = tmp_path / "a 'b\" %2F?#é\n"
    (path,) = pictures(1)
    odd = folder / "ü;--.png"
    folder.mkdir()
    path.rename(odd)
    build(folder / "in dex", [odd], embedder)
    connection = sqlite3.connect(folder / "in dex" / "catalog.sqlite")
    assert connection.execute("SELECT path FROM sources").fetchall() == [(str(odd),)]
    connection.close()
    assert info(folder / "in dex").vectors == 1
