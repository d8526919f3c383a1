"""Build an index in a real Milvus, the embedded one, and search it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.milvus.client import connect
from indexes.milvus.expressions import above
from indexes.milvus.layout import collection_name
from indexes.milvus.state import find_state
from indexes.milvus.writing import milvus_sink
from indexes.open import build, card_of, info, remove, verify
from indexes.records import Filter
from indexes.sources import Source
from indexes.stores import NewRow
from toolkit.errors import InputError, StorageError


def test_pictures_are_found_again(address, embedder, pictures, searching, find) -> None:
    paths = pictures(12)
    report = build(address, paths, embedder)
    assert (report.added, report.skipped, report.vectors) == (12, 0, 12)
    assert report.index == address.text
    fitted = embedder.card.preprocessing.fit(np.asarray(Image.open(paths[7])))
    hits = find(address, embedder, fitted)
    assert hits[0].place.source == str(paths[7])
    assert hits[0].score == pytest.approx(1, abs=1e-6)
    assert hits[0].place.time_s is None
    assert hits[0].place.track is None
    with searching(address) as index:
        assert index.thumbnail(hits[0].id).startswith(b"\xff\xd8")
    found = info(address)
    assert (found.vectors, found.dim, found.key, found.recall_at_10) == (12, 16, "FLAT", 1.0)
    assert found.counts == {"inputs": 12, "sources": 12, "tracks": 0, "labels": 0}
    assert found.model == embedder.card.fingerprint == card_of(address).fingerprint
    assert found.size_bytes > 0
    json.dumps(found.as_json())
    assert verify(address).as_json()["sound"] is True


def test_only_what_is_new_is_embedded(address, embedder, pictures) -> None:
    build(address, pictures(5), embedder)
    before = embedder.seen
    report = build(address, pictures(8), embedder)
    assert (report.added, report.skipped, report.vectors) == (3, 5, 3)
    assert embedder.seen == before + 3
    assert build(address, pictures(8), embedder).skipped == 8
    assert info(address).vectors == 8


def test_the_same_bytes_under_two_names_are_there_once(address, embedder, pictures) -> None:
    paths = pictures(2)
    twin = paths[0].with_name("twin.png")
    twin.write_bytes(paths[0].read_bytes())
    report = build(address, [*paths, twin], embedder)
    assert (report.added, report.skipped) == (2, 1)


def test_a_damaged_picture_is_set_aside(address, embedder, pictures) -> None:
    paths = pictures(3)
    paths[1].write_bytes(b"no picture")
    report = build(address, paths, embedder)
    assert [bad.path for bad in report.quarantined] == [str(paths[1])]
    assert info(address).vectors == 2


def test_one_picture(address, embedder, pictures, find) -> None:
    (path,) = pictures(1)
    build(address, [path], embedder)
    fitted = embedder.card.preprocessing.fit(np.asarray(Image.open(path)))
    assert [hit.id for hit in find(address, embedder, fitted, k=50)] == [1]


def test_pairs_of_a_shard_and_their_tracks(
    address, embedder, shard, pair, tmp_path, searching
) -> None:
    pairs = [pair(track, (0.5, 1.5)) for track in range(1, 5)]
    build(address, [shard(tmp_path / "a.tar", pairs)], embedder)
    assert info(address).counts["tracks"] == 4
    overlapping = [pair(2, (0.5, 1.5)), pair(9, (3.0, 4.0)), pair(2, (1.5, 2.5))]
    report = build(address, [shard(tmp_path / "b.tar", overlapping)], embedder)
    assert report.vectors == 3  # the two new sightings of 9, and the one of 2 at 2.5 s
    with searching(address) as index:
        track = index.store.sightings(3)
    assert [place.time_s for place in track] == [0.5, 1.5, 2.5]
    assert {place.track for place in track} == {"street-002"}
    assert {place.camera for place in track} == {"street"}


def test_strange_paths(address, embedder, tmp_path, pictures, searching) -> None:
    folder = tmp_path / 'it\'s "odd" % _ \\ ü 日'
    folder.mkdir()
    (source,) = pictures(1)
    names = ["] or id > 0.png", "'; drop.png", "a\nb.png", "100%.png"]
    for shade, name in enumerate(names):
        image = Image.open(source).convert("RGB")
        image.putpixel((0, 0), (shade, 0, 0))
        image.save(folder / name)
    odd = bytes(folder) + b"/\xff\xfe.png"
    image.putpixel((0, 0), (99, 0, 0))
    with Path.open(Path(odd.decode("utf-8", "surrogateescape")), "wb") as stream:
        image.save(stream, "PNG")
    assert build(address, [folder], embedder).added == 5
    for name in names:
        with searching(address) as index:
            only = Filter(sources=(str(folder / name),))
            found = index.store.nearest(np.eye(1, 16, dtype=np.float32), 9, only)
            (patch,) = [key for key in found.patches[0] if key > 0]
            assert index.store.places([patch])[patch].source == str(folder / name)
    gone = remove(address, [str(folder / names[0])])
    assert (gone.vectors, gone.sources) == (1, (str(folder / names[0]),))
    assert info(address).vectors == 4


# Writers


def test_nothing_is_seen_before_the_commit(
    address, embedder, twins, random_patches, searching
) -> None:
    generator = np.random.default_rng(0)
    with twins() as both:
        both.take("first", random_patches(generator, 30, ["a.mp4", "b.mp4"]))
        with pytest.raises(InputError, match="no index"):
            info(address)
        both.commit()
        both.take("second", random_patches(generator, 30, ["a.mp4", "c.mp4"]))
        both.milvus._send()
        with searching(address) as index:
            assert len(index) == 30
            everything = index.store.nearest(np.eye(1, 16, dtype=np.float32), 100)
            assert sorted(everything.patches[0].tolist()) == list(range(1, 31))
            assert sorted(index.store.places(range(1, 61))) == list(range(1, 31))
            assert max(index.store.thumbnails(range(1, 61))) <= 30
            assert (
                index.store.nearest(
                    np.eye(1, 16, dtype=np.float32), 9, Filter(sources=("c.mp4",))
                ).patches.max()
                < 0
            )
            both.commit()
            assert len(index) == 30  # its snapshot
    assert info(address).vectors == 60


def test_a_second_writer_is_told(address, embedder, pictures) -> None:
    build(address, pictures(2), embedder)
    with milvus_sink(address, embedder.card), pytest.raises(StorageError, match="is writing"):
        build(address, pictures(3), embedder)
    assert build(address, pictures(3), embedder).added == 1


def test_what_a_kill_left_is_swept(address, embedder, pictures, random_patches) -> None:
    generator = np.random.default_rng(0)
    build(address, pictures(2), embedder)
    with milvus_sink(address, embedder.card) as sink:
        number = sink.begin_input(Source(Path("killed"), "table", "vectors"), "killed")
        drawn = random_patches(generator, 40, ["a.mp4"])
        sink.add([NewRow(patch, patch.vector, b"jpeg", number) for patch in drawn])
        sink._send()
    assert verify(address).leftovers[0] == "40 patches"
    assert verify(address).problems == ()
    assert build(address, pictures(3), embedder).vectors == 1
    assert (info(address).vectors, verify(address).leftovers) == (3, ())
    with connect(address) as client:
        state = find_state(client)
        beyond = above("id", state.patches)
        assert client.count(collection_name(address.prefix, 1, "patches"), beyond) == 0
