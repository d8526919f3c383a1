"""The plan: pure arithmetic, so every figure can be followed by hand."""

import itertools
import math
import subprocess
import sys

import pytest

from indexes.plan.budget import Budget, Machine
from indexes.plan.choose import plan_index, size_option, size_text
from indexes.plan.costs import cells_for
from indexes.plan.grow import needs_merge, needs_pruning
from indexes.plan.keys import codes_shape, read_shape
from toolkit.errors import InputError, UsageError

MIB = 1 << 20
MACHINE = Machine(threads=2)
SIZES = [0, 1, 11, 1000, 10_000, 100_000, 10**6, 10**7, 10**8]
DIMS = [2, 8, 30, 128, 512, 1024, 4096]


def plan(vectors, dim=128, machine=MACHINE, key=None, **budget):
    return plan_index(vectors, dim, Budget(**budget), machine, key)


@pytest.mark.parametrize("vectors", [0, 1, 10, 11, 1000, 10_000, 100_000])
def test_few_vectors_stay_flat(vectors):
    chosen = plan(vectors)
    assert (chosen.kind, chosen.key) == ("flat", "Flat")
    assert chosen.memory_bytes == vectors * 512
    assert chosen.build_s == 0


@pytest.mark.parametrize("vectors", [10**6, 10**7])
def test_many_vectors_are_compressed_to_a_tenth_at_most(vectors):
    chosen = plan(vectors)
    assert chosen.kind == "ivf-pq"
    assert chosen.key.startswith("OPQ32_128,IVF")
    assert chosen.key.endswith("PQ32np")
    assert chosen.memory_bytes <= vectors * 512 / 10
    assert chosen.query_ms < 10
    assert chosen.disk_bytes >= vectors * 512


def test_the_reasons_name_the_chosen_kind_and_why_not_each_other():
    chosen = plan(10**6)
    by_kind = {
        reason.removeprefix("not ").split(":")[0].split(" ")[0]: reason for reason in chosen.reasons
    }
    assert set(by_kind) == {"flat", "ivf-pq", "ivf-flat", "hnsw"}
    assert by_kind["flat"].startswith("not flat: it takes")
    assert "10 ms are allowed" in by_kind["flat"]
    assert by_kind["ivf-pq"].startswith(f"ivf-pq ({chosen.key}): the least memory")
    assert by_kind["hnsw"].startswith("not hnsw: it holds more")


def test_a_limit_of_memory_alone_keeps_what_is_exact_where_it_fits():
    assert plan(100_000, memory_bytes=60_000_000).kind == "flat"
    assert plan(100_000, memory_bytes=20_000_000).kind == "ivf-pq"


def test_a_short_latency_takes_what_is_quicker():
    slow, quick = plan(10**5), plan(10**5, latency_ms=0.5)
    assert slow.kind == "flat"
    assert quick.kind != "flat"
    assert quick.query_ms <= 0.5


def test_only_exact_search_is_sure_to_find_all():
    assert plan(1000, recall=1.0).kind == "flat"
    assert plan(10**6, recall=1.0, latency_ms=1000).kind == "flat"
    with pytest.raises(InputError, match="at a recall of 1") as caught:
        plan(10**6, recall=1.0)
    assert "--latency" in caught.value.mend


def options_of(mend):
    """The budgets that a refusal names, each as keyword arguments."""
    for way in mend.removeprefix("The nearest that does: ").removesuffix(".").split(" or "):
        words = way.split(" ")
        given = dict(itertools.pairwise(words))
        found = {}
        if "--memory" in given:
            found["memory_bytes"] = int(given["--memory"].rstrip("M")) * MIB
        if "--latency" in given:
            found["latency_ms"] = float(given["--latency"].removesuffix("ms"))
        yield found


@pytest.mark.parametrize(
    "budget",
    [
        {"memory_bytes": 1},
        {"memory_bytes": 10**6, "latency_ms": 1.0},
        {"latency_ms": 1e-6},
        {"memory_bytes": 10**6, "latency_ms": 1e-6},
        {"memory_bytes": 30_000_000, "recall": 0.99},
    ],
)
@pytest.mark.parametrize("vectors", [1000, 10**6, 10**7])
def test_a_refusal_names_a_budget_that_would_do(budget, vectors):
    try:
        chosen = plan(vectors, **budget)
    except InputError as error:
        ways = list(options_of(error.mend))
        assert ways
        for way in ways:
            assert plan(vectors, **{**budget, **way}).query_ms > 0
    else:
        assert chosen.memory_bytes <= budget.get("memory_bytes", math.inf)
        assert chosen.query_ms <= budget.get("latency_ms", 10)


@pytest.mark.parametrize(("vectors", "dim"), list(itertools.product(SIZES, DIMS)))
def test_what_is_chosen_is_within_any_budget_that_is_not_refused(vectors, dim):
    for memory, latency in itertools.product((None, 10**6, 10**9), (None, 0.1, 1000.0)):
        try:
            chosen = plan(vectors, dim, memory_bytes=memory, latency_ms=latency)
        except InputError:
            continue
        assert memory is None or chosen.memory_bytes <= memory
        assert chosen.query_ms <= (latency or 10)
        assert chosen.peak_bytes > 0
        assert math.isfinite(chosen.build_s)


def test_more_vectors_cost_more_of_everything():
    plans = [plan(vectors, key="OPQ32_128,IVF2048,PQ32np") for vectors in (10**5, 10**6, 10**7)]
    for name in ("memory_bytes", "disk_bytes", "build_s", "query_ms", "peak_bytes"):
        values = [getattr(one, name) for one in plans]
        assert values == sorted(values)
        assert values[0] < values[-1]


def test_more_recall_costs_more_time():
    for key in ("OPQ32_128,IVF2048,PQ32np", "HNSW16", "IVF2048,Flat"):
        assert plan(10**6, key=key, recall=0.8).query_ms <= plan(10**6, key=key).query_ms
        assert plan(10**6, key=key).query_ms < plan(10**6, key=key, recall=0.99).query_ms


@pytest.mark.parametrize("what", ["memory", "disk"])
def test_a_machine_that_is_too_small_is_told_before_anything_starts(what):
    needed = plan(10**7)
    need = needed.peak_bytes if what == "memory" else needed.disk_bytes
    enough = Machine(2, **{f"{what}_bytes": need})
    assert plan(10**7, machine=enough).key == needed.key
    little = Machine(2, **{f"{what}_bytes": need - 1})
    with pytest.raises(InputError, match=rf"of {what} to be built; .* are free"):
        plan(10**7, machine=little)
    with pytest.raises(InputError, match=rf"of {what} to be built; .* are free"):
        plan(10**7, machine=little, key=needed.key)


def test_a_gpu_searches_exactly_what_a_processor_does_not():
    on_gpu = Machine(2, gpu_bytes=40 << 30)
    assert plan(10**6).kind == "ivf-pq"
    assert plan(10**6, machine=on_gpu).kind == "flat"
    assert plan(10**8, machine=on_gpu).kind == "ivf-pq"


@pytest.mark.parametrize(
    ("key", "kind", "bytes_a_vector"),
    [
        ("Flat", "flat", 512),
        ("HNSW32", "hnsw", 256 + 512),
        ("HNSW16_SQ8", "hnsw", 128 + 128),
        ("IVF1024,Flat", "ivf-flat", 520),
        ("IVF1024_HNSW32,Flat", "ivf-flat", 520),
        ("IVF1024,SQ8", "ivf-sq", 136),
        ("IVF1024,SQfp16", "ivf-sq", 264),
        ("IVF1024,PQ16np", "ivf-pq", 24),
        ("IVF1024,PQ32x4fs", "ivf-pq", 24),
        ("OPQ16_64,IVF1024,PQ16", "ivf-pq", 24),
        ("PCA64,IVF1024,Flat", "ivf-pq", 264),
    ],
)
def test_a_key_is_used_whatever_the_budget_says_and_estimated(key, kind, bytes_a_vector):
    chosen = plan(10**6, key=key, memory_bytes=1, latency_ms=1e-9)
    assert (chosen.kind, chosen.key) == (kind, key)
    assert chosen.memory_bytes == pytest.approx(bytes_a_vector * 10**6, rel=0.2)
    assert chosen.reasons == (f"{kind}: the key {key} was asked for",)


@pytest.mark.parametrize(
    "key", ["", "garbage", "IDMap,Flat", "PQ16", "SQ8", "LSH", "IVF,Flat", "IVFx,Flat"]
)
def test_a_key_that_is_none_is_refused(key):
    with pytest.raises(UsageError, match="index key") as caught:
        plan(1000, key=key)
    assert "HNSW32" in caught.value.mend


@pytest.mark.parametrize(
    "dim", [1, 2, 3, 8, 15, 16, 17, 30, 100, 128, 257, 1000, 1024, 4096, 65_536]
)
def test_codes_suit_every_dimension(dim):
    shape = codes_shape(10**6, dim)
    codes = int(shape.code_bytes)
    if shape.kind == "ivf-pq":
        assert shape.dim % codes == 0
        assert shape.dim <= dim
        assert shape.key == f"OPQ{codes}_{shape.dim},IVF2048,PQ{codes}np"
        assert read_shape(shape.key, dim) == shape
    else:
        assert shape.key == "IVF2048,SQ8"
        assert dim < 16


def test_cells_grow_with_the_root():
    assert [cells_for(10**n) for n in range(3, 9)] == [64, 256, 512, 2048, 8192, 16384]
    assert cells_for(0) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_bytes": 0},
        {"memory_bytes": -5},
        {"latency_ms": 0.0},
        {"latency_ms": -1.0},
        {"latency_ms": math.inf},
        {"latency_ms": math.nan},
        {"recall": 0.0},
        {"recall": 1.01},
        {"recall": math.nan},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError, match="must be over 0"):
        Budget(**wrong)


@pytest.mark.parametrize(
    ("indexed", "tail", "removed", "expected"),
    [
        (0, 0, 0, False),
        (0, 10, 0, True),  # nothing is indexed yet: the plan says what it should become
        (1000, 0, 0, False),
        (1000, 111, 0, False),
        (1000, 112, 0, True),
        (1000, 0, 200, False),
        (1000, 0, 201, True),
        (1000, 100, 221, True),
        (10**7, 10**6, 0, False),
        (10**7, 2 * 10**6, 0, True),
    ],
)
def test_a_tail_and_what_was_removed_may_be_a_share(indexed, tail, removed, expected):
    assert needs_merge(indexed, tail, removed) is expected


@pytest.mark.parametrize(
    ("rows", "removed", "expected"),
    [(0, 0, False), (1, 0, False), (1, 1, True), (1000, 200, False), (1000, 201, True),
     (10**7, 10**7, True)],
)  # fmt: skip
def test_a_fifth_of_rows_may_stand_for_nothing(rows, removed, expected):
    assert needs_pruning(rows, removed) is expected


def test_sizes_for_people_and_for_the_option():
    assert size_text(0) == "0 B"
    assert size_text(512) == "512 B"
    assert size_text(1000) == "1000 B"
    assert size_text(1536) == "1.5 KiB"
    assert size_text(5 * MIB) == "5 MiB"
    assert size_text(3 << 40) == "3072 GiB"
    assert size_option(MIB) == "1M"
    assert size_option(MIB + 1) == "2M"


def test_planning_needs_no_faiss():
    code = """
import sys
sys.modules["faiss"] = sys.modules["numpy"] = None
from indexes.plan.choose import plan_index
from indexes.plan.budget import Budget, Machine
plan_index(10**6, 128, Budget(), Machine(2), "IVF1024,PQ16np")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
