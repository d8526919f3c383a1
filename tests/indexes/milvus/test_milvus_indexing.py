"""Which type of index Milvus is asked for, what is told before, and what is made."""

import numpy as np
import pytest

from indexes.build.budget import Wish
from indexes.build.settings import BuildSettings
from indexes.milvus.client import connect
from indexes.milvus.indexing import params_of, plan_milvus, search_params
from indexes.milvus.layout import collection_name
from indexes.open import build, info, plan
from indexes.plan.budget import Budget
from toolkit.errors import InputError, MismatchError, StorageError, UsageError


@pytest.mark.parametrize(
    ("vectors", "embedded", "kind"),
    [
        (0, False, "FLAT"),
        (1, True, "FLAT"),
        (100_000, False, "FLAT"),
        (10_000_000, False, "HNSW"),
        (10_000_000, True, "IVF_FLAT"),
    ],
)
def test_the_kind_by_size(vectors: int, embedded: bool, kind: str) -> None:
    planned = plan_milvus(vectors, 128, Budget(), embedded=embedded)
    assert planned.key == kind
    assert planned.memory_bytes >= vectors * 128 * 4


def test_the_kind_by_memory() -> None:
    whole = 10_000_000 * 128 * 4
    graph = plan_milvus(10_000_000, 128, Budget(), embedded=False).memory_bytes
    cells = plan_milvus(10_000_000, 128, Budget(memory_bytes=graph - 1), embedded=False)
    assert cells.key == "IVF_FLAT"
    assert whole < cells.memory_bytes < graph
    with pytest.raises(InputError, match="holds whole vectors") as caught:
        plan_milvus(10_000_000, 128, Budget(memory_bytes=whole // 10), embedded=False)
    least = -(-cells.memory_bytes // (1 << 20))
    assert f"--memory {least}M" in caught.value.mend


def test_a_kind_that_is_asked_for() -> None:
    asked = plan_milvus(10, 8, Budget(), embedded=False, key="hnsw")
    assert params_of(asked, 10) == {"M": 16, "efConstruction": 200}
    with pytest.raises(UsageError, match="no type of index"):
        plan_milvus(10, 8, Budget(), embedded=False, key="OPQ16,PQ16")


def test_how_an_index_is_searched() -> None:
    assert search_params("FLAT", 10, {}) == {}
    assert search_params("HNSW", 10, {}) == {"ef": 64}
    assert search_params("HNSW", 1000, {})["ef"] >= 1000
    assert search_params("HNSW", 16_384, {})["ef"] <= 32_768
    assert search_params("IVF_FLAT", 10, {"nlist": 4096}) == {"nprobe": 82}


def test_a_recall_of_one_is_exact_search() -> None:
    assert plan_milvus(10_000_000, 128, Budget(recall=1.0), embedded=False).key == "FLAT"


def test_a_plan_before_there_is_an_index(address, embedder, pictures) -> None:
    paths = pictures(4)
    planned = plan(address, paths, embedder.card, BuildSettings())
    assert (planned.there, planned.expected.vectors, planned.plan.key) == (0, 4, "FLAT")
    assert planned.plan.memory_bytes == 4 * 16 * 4
    with pytest.raises(InputError, match="no index"):
        info(address)


def test_a_plan_for_what_is_new(address, embedder, other_embedder, pictures) -> None:
    wish = Wish(Budget(latency_ms=5.0), "IVF_FLAT")
    build(address, pictures(3), embedder, BuildSettings(wish=wish))
    planned = plan(address, pictures(5), embedder.card, BuildSettings())
    assert (planned.there, planned.expected.vectors) == (3, 2)
    assert (planned.wish, planned.plan.key) == (wish, "IVF_FLAT")
    assert planned.as_json()["index"] == address.text
    with pytest.raises(MismatchError):
        plan(address, pictures(5), other_embedder.card, BuildSettings())
    anew = plan(address, pictures(5), other_embedder.card, BuildSettings(overwrite=True))
    assert (anew.there, anew.expected.vectors) == (0, 5)


def test_cells_when_they_are_asked_for(
    address, embedder, twins, random_patches, units, searching
) -> None:
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


def test_a_kill_while_the_index_is_made_anew(address, embedder, pictures, searching) -> None:
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
