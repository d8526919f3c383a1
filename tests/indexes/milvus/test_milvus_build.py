"""Build, add, remove and look after an index in a real Milvus, the embedded one."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.build.budget import Wish
from indexes.build.settings import BuildSettings
from indexes.milvus.client import connect
from indexes.milvus.expressions import above
from indexes.milvus.layout import KINDS, collection_name, state_name
from indexes.milvus.state import State, find_state, put_row, read_state, write_state
from indexes.milvus.writing import milvus_sink
from indexes.open import build, card_of, info, open_store, remove, verify
from indexes.plan.budget import Budget
from indexes.records import Filter
from indexes.search.index import PatchIndex
from indexes.sources import Source
from indexes.stores import NewRow
from toolkit.errors import InputError, MismatchError, StorageError


@contextmanager
def searching(address):
    index = PatchIndex(open_store(address))
    try:
        yield index
    finally:
        index.close()


def find(address, embedder, image, k=3):
    with searching(address) as index:
        return index.search(embedder.embed(image[None])[0], k)


def collections(address) -> list[str]:
    with connect(address) as client:
        return sorted(n for n in client.collections() if n.startswith(address.prefix + "_"))


def test_pictures_are_found_again(address, embedder, pictures) -> None:
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


def test_one_picture(address, embedder, pictures) -> None:
    (path,) = pictures(1)
    build(address, [path], embedder)
    fitted = embedder.card.preprocessing.fit(np.asarray(Image.open(path)))
    assert [hit.id for hit in find(address, embedder, fitted, k=50)] == [1]


def test_pairs_of_a_shard_and_their_tracks(address, embedder, shard, pair, tmp_path) -> None:
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


def test_strange_paths(address, embedder, tmp_path, pictures) -> None:
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


# Removal


def test_a_removed_source_is_gone_with_all_that_hangs_on_it(address, embedder, pictures) -> None:
    paths = pictures(6)
    build(address, paths, embedder)
    fitted = embedder.card.preprocessing.fit(np.asarray(Image.open(paths[2])))
    dry = remove(address, [str(paths[2])], dry_run=True)
    assert info(address).vectors == 6
    gone = remove(address, [str(paths[2])])
    assert dry == gone
    assert (gone.vectors, gone.thumbnails, gone.labels, gone.read_again) == (1, 1, 0, ())
    assert str(paths[2]) not in [hit.place.source for hit in find(address, embedder, fitted, 10)]
    assert verify(address).problems == ()
    with connect(address) as client:
        for kind in KINDS:
            name = collection_name(address.prefix, 1, kind)
            assert client.count(name, "id == 3") == 0
    report = build(address, paths, embedder)
    assert (report.added, report.skipped) == (1, 5)
    assert find(address, embedder, fitted)[0].place.source == str(paths[2])


def test_a_video_of_a_shard_is_removed_and_comes_back(
    address, embedder, shard, pair, tmp_path
) -> None:
    pairs = [pair(1, (0.5, 1.5)), pair(2, (0.5, 1.5), "gate"), pair(3, (2.5, 3.5), "gate")]
    target = shard(tmp_path / "a.tar", pairs)
    build(address, [target], embedder)
    gone = remove(address, ["clips/gate*"])
    assert (gone.vectors, gone.sources) == (4, ("clips/gate.mp4",))
    assert gone.read_again == (str(target),)
    assert info(address).counts["tracks"] == 1
    report = build(address, [target], embedder)
    assert (report.added, report.vectors) == (1, 4)
    assert info(address).vectors == 6
    assert build(address, [target], embedder).skipped == 1
    assert verify(address).problems == ()


def test_removing_by_camera_by_shard_and_by_content(
    address, embedder, shard, pair, tmp_path, pictures
) -> None:
    target = shard(tmp_path / "a.tar", [pair(1, (0.5, 1.5)), pair(2, (0.5, 1.5), "gate")])
    paths = pictures(2)
    build(address, [target, *paths], embedder)
    assert remove(address, [], ["gate"]).sources == ("clips/gate.mp4",)
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())
    assert remove(address, [str(copy)]).sources == (str(paths[0]),)
    assert remove(address, [str(target)]).sources == ("clips/street.mp4",)
    with pytest.raises(InputError, match="no source"):
        remove(address, ["other.mp4"])
    with pytest.raises(InputError, match="no camera"):
        remove(address, [], ["gate"])


def test_a_removal_that_was_killed_is_finished(address, embedder, pictures) -> None:
    build(address, pictures(6), embedder)
    with connect(address) as client:
        from dataclasses import replace

        state = read_state(client)
        doomed = replace(state, removed=(2, 3), vectors=4)
        write_state(client, doomed)
    with searching(address) as index:
        assert len(index) == 4
        assert sorted(index.store.places(range(1, 7))) == [1, 4, 5, 6]
        assert sorted(index.store.thumbnails(range(1, 7))) == [1, 4, 5, 6]
        with pytest.raises(InputError, match="no patch 2"):
            index.vectors_of([2])
        found = index.store.nearest(np.eye(1, 16, dtype=np.float32), 6)
        assert sorted(found.patches[0].tolist()) == [1, 4, 5, 6]
    assert verify(address).leftovers == ("the rows of 2 removed sources",)
    assert build(address, pictures(6), embedder).added == 2
    assert info(address).vectors == 6
    found = verify(address)
    assert (found.problems, found.leftovers) == ((), ())


# Another model, another version, nothing there


def test_another_model_is_refused(address, embedder, other_embedder, pictures) -> None:
    build(address, pictures(3), embedder)
    with pytest.raises(MismatchError, match="was made by the model") as caught:
        build(address, pictures(3), other_embedder)
    assert caught.value.exit_code == 5
    assert address.text in caught.value.problem
    with searching(address) as index, pytest.raises(MismatchError):
        index.check_model(other_embedder.card)
    assert info(address).vectors == 3


def test_overwriting_takes_another_model_and_another_dimension(address, embedder, pictures) -> None:
    other = type(embedder)(seed=3, dim=24)
    build(address, pictures(4), embedder)
    build(address, pictures(2), other, BuildSettings(overwrite=True))
    assert (info(address).vectors, info(address).dim) == (2, 24)
    assert collections(address) == sorted(
        [state_name(address.prefix), *(collection_name(address.prefix, 2, k) for k in KINDS)]
    )


def test_overwriting_with_nothing_leaves_the_old_one(address, embedder, pictures, tmp_path) -> None:
    build(address, pictures(4), embedder)
    before = collections(address)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="nothing to index"):
        build(address, [tmp_path / "bad.png"], embedder, BuildSettings(overwrite=True))
    assert info(address).vectors == 4
    assert collections(address) == before


def test_a_newer_version_is_refused(address, embedder, pictures) -> None:
    build(address, pictures(2), embedder)
    with connect(address) as client:
        put_row(client, 1000, json.dumps({"version": 2}))
    with pytest.raises(MismatchError, match="version 2; this vr reads version 1"):
        info(address)
    with pytest.raises(MismatchError, match="version 2"):
        build(address, pictures(2), embedder)


def test_a_damaged_state(address, embedder, pictures) -> None:
    build(address, pictures(1), embedder)
    with connect(address) as client:
        put_row(client, 1000, "{")
    with pytest.raises(MismatchError, match="its state is not readable"):
        info(address)
    assert verify(address).as_json()["sound"] is False


def test_a_state_is_read_as_it_was_written(embedder) -> None:
    state = State(embedder.card, 3, 10, 4, 2, 9, (1, 2), "HNSW", {"M": 16}, None, Wish())
    assert State.from_text(state.as_text(), "x") == state


@pytest.mark.parametrize(
    "change",
    [
        {"patches": -1},
        {"patches": "1"},
        {"inputs": True},
        {"removed": 5},
        {"removed": ["a"]},
        {"card": {}},
        {"card": None},
        {"params": []},
        {"recall": "high"},
        {"wish": {}},
        {"version": 0},
        {"version": None},
    ],
    ids=str,
)
def test_a_state_that_is_none(change, embedder) -> None:
    content = json.loads(State(embedder.card, 1).as_text()) | change
    with pytest.raises(MismatchError):
        State.from_text(json.dumps(content), "x")
    for text in ("", "{", "[]", "3", "[" * 100_000):
        with pytest.raises(MismatchError):
            State.from_text(text, "x")


def test_damage_is_named(address, embedder, pictures) -> None:
    build(address, pictures(5), embedder)
    with connect(address) as client:
        client.delete(collection_name(address.prefix, 1, "patches"), "id == 2")
        client.delete(collection_name(address.prefix, 1, "notes"), "kind == 2 and number == 4")
    told = " ".join(problem.what for problem in verify(address).problems)
    assert "4 patches are there, and 5 should be" in told
    assert "the source of these patches is not known: 4" in told
    with searching(address) as index, pytest.raises(MismatchError, match="source 4"):
        index.store.places([4])
    with connect(address) as client:
        client.drop(collection_name(address.prefix, 1, "thumbnails"))
    with pytest.raises(MismatchError, match="collection thumbnails is not there"):
        info(address)


def test_there_is_no_index(address, embedder, tmp_path) -> None:
    for ask in (info, verify, card_of, lambda a: remove(a, ["x"])):
        with pytest.raises(InputError, match="There is no index"):
            ask(address)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to index"):
        build(address, [tmp_path / "empty"], embedder)
    assert [name for name in collections(address) if "state" not in name] == []


def test_an_index_without_patches(address, embedder, pictures) -> None:
    paths = pictures(1)
    build(address, paths, embedder)
    remove(address, [str(paths[0])])
    with searching(address) as index:
        assert len(index) == 0
        assert index.search(np.ones(16, np.float32), 5) == []
    assert (info(address).recall_at_10, verify(address).problems) == (None, ())


def test_a_query_of_another_length(address, embedder, pictures) -> None:
    build(address, pictures(2), embedder)
    with searching(address) as index, pytest.raises(MismatchError, match="shape"):
        index.search(np.ones(17, np.float32))


# Writers


def test_nothing_is_seen_before_the_commit(address, embedder, twins, random_patches) -> None:
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


# Kinds of index


def test_cells_when_they_are_asked_for(address, embedder, twins, random_patches, units) -> None:
    generator = np.random.default_rng(0)
    with twins() as both:
        both.take("many", random_patches(generator, 300, ["a.mp4", "b.mp4"]))
        both.commit()
        both.milvus.wish(Wish(Budget(), "ivf_flat"))
        both.milvus.settle()
    found = info(address)
    assert (found.kind, found.key) == ("ivf-flat", "IVF_FLAT")
    assert found.recall_at_10 >= 0.9
    with searching(address) as index:
        for query in units(generator, 3):
            truth = index.vectors_of(range(1, 301)) @ query
            hits = index.search(query, 10)
            for hit in hits:
                assert hit.score == pytest.approx(truth[hit.id - 1], abs=1e-5)


def test_a_kill_while_the_index_is_made_anew(address, embedder, pictures) -> None:
    build(address, pictures(3), embedder)
    with connect(address) as client:
        name = collection_name(address.prefix, 1, "patches")
        client._client.release_collection(name)
        client._client.drop_index(name, "vector")
    with searching(address) as index, pytest.raises(StorageError):
        index.search(np.ones(16, np.float32))
    wish = Wish(Budget(), "IVF_FLAT")
    assert build(address, pictures(4), embedder, BuildSettings(wish=wish)).added == 1
    assert (info(address).vectors, info(address).key) == (4, "IVF_FLAT")
    with searching(address) as index:
        assert len(index.search(np.ones(16, np.float32))) == 4


def test_what_the_embedded_engine_does_not_have(address, embedder, pictures) -> None:
    wish = Wish(Budget(), "HNSW")
    with pytest.raises(InputError, match="embedded Milvus has no HNSW"):
        build(address, pictures(1), embedder, BuildSettings(wish=wish))
    with pytest.raises(InputError, match="There is no index"):
        info(address)


def test_the_wish_is_remembered(address, embedder, pictures) -> None:
    wish = Wish(Budget(memory_bytes=1 << 20), None)
    build(address, pictures(2), embedder, BuildSettings(wish=wish))
    build(address, pictures(3), embedder)
    assert info(address).wish == wish
    with pytest.raises(InputError, match="holds whole vectors"):
        build(
            address, pictures(4), embedder, BuildSettings(wish=Wish(Budget(memory_bytes=50), None))
        )
    assert info(address).vectors == 3
