"""Which index there is in a real Milvus: another model, another version, damaged or none."""

import json

import numpy as np
import pytest

from indexes.build.budget import Wish
from indexes.build.settings import BuildSettings
from indexes.milvus.client import connect
from indexes.milvus.layout import KINDS, collection_name, state_name
from indexes.milvus.state import State, put_row
from indexes.open import build, card_of, info, remove, verify
from toolkit.errors import InputError, MismatchError


def test_another_model_is_refused(address, embedder, other_embedder, pictures, searching) -> None:
    build(address, pictures(3), embedder)
    with pytest.raises(MismatchError, match="was made by the model") as caught:
        build(address, pictures(3), other_embedder)
    assert caught.value.exit_code == 5
    assert address.text in caught.value.problem
    with searching(address) as index, pytest.raises(MismatchError):
        index.check_model(other_embedder.card)
    assert info(address).vectors == 3


def test_overwriting_takes_another_model_and_another_dimension(
    address, embedder, pictures, collections
) -> None:
    other = type(embedder)(seed=3, dim=24)
    build(address, pictures(4), embedder)
    build(address, pictures(2), other, BuildSettings(overwrite=True))
    assert (info(address).vectors, info(address).dim) == (2, 24)
    assert collections(address) == sorted(
        [state_name(address.prefix), *(collection_name(address.prefix, 2, k) for k in KINDS)]
    )


def test_overwriting_with_nothing_leaves_the_old_one(
    address, embedder, pictures, tmp_path, collections
) -> None:
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


def test_damage_is_named(address, embedder, pictures, searching) -> None:
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


def test_there_is_no_index(address, embedder, tmp_path, collections) -> None:
    for ask in (info, verify, card_of, lambda a: remove(a, ["x"])):
        with pytest.raises(InputError, match="There is no index"):
            ask(address)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to index"):
        build(address, [tmp_path / "empty"], embedder)
    assert [name for name in collections(address) if "state" not in name] == []


def test_an_index_without_patches(address, embedder, pictures, searching) -> None:
    paths = pictures(1)
    build(address, paths, embedder)
    remove(address, [str(paths[0])])
    with searching(address) as index:
        assert len(index) == 0
        assert index.search(np.ones(16, np.float32), 5) == []
    assert (info(address).recall_at_10, verify(address).problems) == (None, ())


def test_a_query_of_another_length(address, embedder, pictures, searching) -> None:
    build(address, pictures(2), embedder)
    with searching(address) as index, pytest.raises(MismatchError, match="shape"):
        index.search(np.ones(17, np.float32))
