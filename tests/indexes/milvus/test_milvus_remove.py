"""What is removed from an index in a real Milvus is gone, and can come back."""

import numpy as np
import pytest
from PIL import Image

from indexes.milvus.client import connect
from indexes.milvus.layout import KINDS, collection_name
from indexes.milvus.state import read_state, write_state
from indexes.open import build, info, remove, verify
from toolkit.errors import InputError


def test_a_removed_source_is_gone_with_all_that_hangs_on_it(
    address, embedder, pictures, find
) -> None:
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


def test_a_removal_that_was_killed_is_finished(address, embedder, pictures, searching) -> None:
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
