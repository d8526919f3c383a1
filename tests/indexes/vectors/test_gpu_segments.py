"""Segments on a GPU: what goes there and what does not.

The stand-ins below check the routing alone: which calls are made, and that what a GPU would
do wrongly never reaches it. They compute on the processor and say nothing about a GPU. The
tests marked gpu run the real thing.
"""

from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from indexes.vectors import gpu, load
from indexes.vectors.approximate import BuildOptions, index_segment
from indexes.vectors.effort import Effort
from indexes.vectors.segment import open_segment
from toolkit.errors import MissingError, UsageError
from toolkit.machine.cuda import Gpu, list_gpus

DIM = 24
GIB = 1 << 30


class OnGpu:
    """Stands for an index on a GPU: searches as the one it was made of, and refuses selectors."""

    def __init__(self, index, calls):
        self.index, self.calls = index, calls
        self.ntotal = index.ntotal

    def search(self, queries, count, params=None):
        assert count <= 2048
        assert params is None or params.sel is None
        self.calls.append(("search", len(queries), count))
        return self.index.search(queries, count, params=params)

    def add(self, rows):
        self.calls.append(("add", len(rows)))
        self.index.add(rows)


@pytest.fixture
def stand_in(monkeypatch):
    """A FAISS that says it has a GPU of 4 GiB; the list of what was asked of it."""
    calls = []

    def move(resources, device, index, options):
        calls.append(("move", type(faiss.downcast_index(index)).__name__))
        return OnGpu(index, calls)

    def refine(base, flat):
        if isinstance(base, OnGpu):
            return OnGpu(faiss.IndexRefine(base.index, flat), calls)
        return faiss.IndexRefine(base, flat)

    class Faiss:
        StandardGpuResources = staticmethod(
            lambda: SimpleNamespace(setTempMemory=lambda size: calls.append(("temporary", size)))
        )
        GpuClonerOptions = SimpleNamespace
        INDICES_64_BIT = "64"
        index_cpu_to_gpu = staticmethod(move)
        index_gpu_to_cpu = staticmethod(lambda there: there.index)
        IndexRefine = staticmethod(refine)
        get_num_gpus = staticmethod(lambda: 1)

        def __getattr__(self, name):
            return getattr(faiss, name)

    monkeypatch.setattr(gpu, "load_faiss", Faiss)
    monkeypatch.setattr(gpu, "list_gpus", lambda: [Gpu("stand-in", "sm90", "13.0", 4 * GIB)])
    gpu.gpu_room.cache_clear()
    yield calls
    gpu.gpu_room.cache_clear()


@pytest.fixture
def segment_of(tmp_path, make_vectors, write_flat, plan_of):
    def make(key):
        return index_segment(tmp_path, write_flat(make_vectors(800)), DIM, plan_of(key))

    return make


def searches(calls):
    return [call for call in calls if call[0] == "search"]


KEYS = ["Flat", "IVF8,Flat", "OPQ6_24,IVF8,PQ6np", "HNSW8"]


@pytest.mark.parametrize("key", KEYS)
def test_unfiltered_queries_go_to_the_gpu_and_filtered_ones_do_not(
    tmp_path, segment_of, stand_in, key, make_vectors, nearest_rows
):
    segment, vectors = segment_of(key), make_vectors(800)
    opened = open_segment(tmp_path, segment, DIM, "cuda")
    opened.effort = Effort(2, 0, 50)
    queries = make_vectors(3, seed=1)
    opened.search(queries, 5)
    assert searches(stand_in)[0][1] == 3
    stand_in.clear()
    mask = np.random.default_rng(0).random(800) < 0.6
    _, rows = opened.search(queries, 5, mask)
    assert stand_in == []
    for query, found in zip(queries, rows, strict=True):
        assert found.tolist() == nearest_rows(vectors, query, 5, mask)


def test_a_graph_is_searched_exactly_on_the_gpu(tmp_path, segment_of, stand_in, make_vectors):
    opened = open_segment(tmp_path, segment_of("HNSW8"), DIM, "cuda")
    assert ("move", "IndexFlatIP") in stand_in
    assert opened.base is None
    assert opened.search(make_vectors(800)[7:8], 1)[1].tolist() == [[7]]


@pytest.mark.parametrize("key", KEYS)
def test_more_than_a_gpu_index_takes_is_searched_by_the_processor(
    tmp_path, segment_of, stand_in, key, make_vectors, monkeypatch
):
    monkeypatch.setattr(gpu, "MOST_NEIGHBOURS", 40)
    opened = open_segment(tmp_path, segment_of(key), DIM, "cuda")
    stand_in.clear()
    rows = opened.search(make_vectors(2), 41)[1]
    assert searches(stand_in) == []
    assert (rows >= 0).all()


def test_too_little_memory_is_refused_with_both_numbers_and_nothing_is_held(
    tmp_path, segment_of, stand_in, make_vectors, monkeypatch
):
    monkeypatch.setattr(gpu, "TEMPORARY_BYTES", int(4 * GIB * gpu.MEMORY_SHARE) - 1000)
    with pytest.raises(MissingError, match="takes 0 MiB on the GPU; 0 MiB of 3276 MiB") as caught:
        open_segment(tmp_path, segment_of("Flat"), DIM, "cuda")
    assert "--device cpu" in caught.value.mend
    assert gpu.gpu_room().taken_bytes == 0
    assert not any(call[0] == "move" for call in stand_in)


def test_room_is_taken_by_each_segment_and_given_back(tmp_path, segment_of, stand_in):
    flat, indexed = segment_of("Flat"), segment_of("IVF8,PQ6np")
    first = open_segment(tmp_path, flat, DIM, "cuda")
    taken = gpu.gpu_room().taken_bytes
    assert taken == 800 * DIM * 4
    second = open_segment(tmp_path, indexed, DIM, "cuda")
    assert gpu.gpu_room().taken_bytes > taken
    first.close()
    second.close()
    assert gpu.gpu_room().taken_bytes == 0


def test_what_faiss_cannot_move_is_told_and_its_room_free_again(
    tmp_path, segment_of, stand_in, monkeypatch
):
    def refuse(*args):
        raise RuntimeError("This index type is not implemented on GPU")

    faiss_here = gpu.load_faiss
    monkeypatch.setattr(faiss_here, "index_cpu_to_gpu", staticmethod(refuse))
    with pytest.raises(UsageError, match="cannot move this index to the GPU"):
        open_segment(tmp_path, segment_of("IVF8,SQ8"), DIM, "cuda")
    assert gpu.gpu_room().taken_bytes == 0


@pytest.mark.parametrize("key", ["IVF8,Flat", "OPQ6_24,IVF8,PQ6np"])
def test_filling_on_the_gpu_gives_the_same_index_and_gives_the_room_back(
    tmp_path, make_vectors, write_flat, plan_of, stand_in, key
):
    flat = write_flat(make_vectors(800))
    on_cpu = index_segment(tmp_path, flat, DIM, plan_of(key))
    on_gpu = index_segment(tmp_path, flat, DIM, plan_of(key), BuildOptions(device="cuda"))
    assert ("add", 800) in stand_in
    assert on_gpu == on_cpu
    assert gpu.gpu_room().taken_bytes == 0


def test_a_graph_without_cuvs_is_not_built_by_the_processor_in_silence(
    tmp_path, make_vectors, write_flat, plan_of, stand_in
):
    flat = write_flat(make_vectors(100))
    with pytest.raises(MissingError, match="only by cuVS"):
        index_segment(tmp_path, flat, DIM, plan_of("HNSW8"), BuildOptions(device="cuda"))


def test_a_graph_of_cagras_form_opens_and_finds(
    tmp_path, make_vectors, write_flat, plan_of, stand_in, monkeypatch
):
    """The stand-in makes the form that `copyTo` fills; its links are those of HNSW here."""
    made = []

    class Cagra:
        def __init__(self, resources, dim, metric, settings):
            made.append((dim, metric, settings.graph_degree, settings.intermediate_graph_degree))

        def train(self, vectors):
            self.vectors = np.ascontiguousarray(vectors)

        def copyTo(self, target):  # noqa: N802 - FAISS's name
            target.base_level_only = False
            target.add(self.vectors)

    monkeypatch.setattr(gpu.load_faiss, "GpuIndexCagra", Cagra, raising=False)
    monkeypatch.setattr(gpu.load_faiss, "GpuIndexCagraConfig", SimpleNamespace, raising=False)
    vectors = make_vectors(600)
    options = BuildOptions(device="cuda")
    segment = index_segment(tmp_path, write_flat(vectors), DIM, plan_of("HNSW8"), options)
    assert made == [(DIM, faiss.METRIC_INNER_PRODUCT, 16, 32)]
    assert segment.kind == "hnsw"
    assert segment.settings["recall@10"] > 0.85
    opened = open_segment(tmp_path, segment, DIM)
    assert not opened.base.refines
    assert opened.search(vectors[5:6], 1)[1].tolist() == [[5]]


@pytest.mark.parametrize("build", ["cpu", "gpu"])
def test_no_gpu_is_told_by_what_is_missing(tmp_path, segment_of, monkeypatch, build):
    class Faiss:
        def __getattr__(self, name):
            return getattr(faiss, name)

    if build == "gpu":
        Faiss.StandardGpuResources = object
        Faiss.get_num_gpus = staticmethod(lambda: 0)
        expected = "finds no NVIDIA GPU"
    else:
        expected = "is built for the CPU alone"
    monkeypatch.setattr(gpu, "load_faiss", Faiss)
    gpu.gpu_room.cache_clear()
    if build == "cpu" and hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS is built for GPUs")
    for ask in (
        lambda: open_segment(tmp_path, segment_of("Flat"), DIM, "cuda"),
        lambda: gpu.resolve_device("cuda"),
    ):
        with pytest.raises(MissingError, match=expected) as caught:
            ask()
        assert "vr-toolkit[gpu]" in caught.value.mend
    assert gpu.resolve_device("auto") == "cpu"
    assert gpu.resolve_device("cpu") == "cpu"


def test_auto_takes_a_gpu_where_there_is_one(stand_in):
    assert gpu.resolve_device("auto") == "cuda"
    assert gpu.resolve_device("cuda") == "cuda"


real_gpu = pytest.mark.skipif(
    not list_gpus() or not hasattr(load.load_faiss(), "StandardGpuResources"),
    reason="needs an NVIDIA GPU and a FAISS that is built for it",
)


@pytest.mark.gpu
@real_gpu
@pytest.mark.parametrize("key", ["Flat", "IVF8,Flat", "IVF8,PQ6np", "OPQ6_24,IVF8,PQ6np"])
def test_a_real_gpu_finds_the_same_with_and_without_a_filter(
    tmp_path, segment_of, key, make_vectors
):
    segment = segment_of(key)
    on_cpu, on_gpu = (open_segment(tmp_path, segment, DIM, device) for device in ("cpu", "cuda"))
    queries = make_vectors(20, seed=2)
    mask = np.random.default_rng(0).random(800) < 0.5
    for allowed in (None, mask):
        scores, rows = on_cpu.search(queries, 5, allowed)
        gpu_scores, gpu_rows = on_gpu.search(queries, 5, allowed)
        assert (gpu_rows == rows).mean() > 0.95
        np.testing.assert_allclose(gpu_scores, scores, atol=1e-3)
    on_gpu.close()


@pytest.mark.gpu
@real_gpu
@pytest.mark.parametrize("key", ["IVF8,Flat", "IVF8,PQ6np", "HNSW8"])
def test_a_real_gpu_builds_what_the_processor_searches(
    tmp_path, make_vectors, write_flat, plan_of, key
):
    if key == "HNSW8" and not hasattr(faiss, "GpuIndexCagra"):
        pytest.skip("this FAISS has no cuVS")
    vectors = make_vectors(5000)
    options = BuildOptions(device="cuda")
    segment = index_segment(tmp_path, write_flat(vectors), DIM, plan_of(key), options)
    assert segment.settings["recall@10"] > 0.85
    assert open_segment(tmp_path, segment, DIM).search(vectors[:1], 1)[1].tolist() == [[0]]
