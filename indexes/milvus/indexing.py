"""Which of Milvus's types of index, by the budget, and how it is searched."""

import math
from collections.abc import Mapping

from indexes.plan import costs
from indexes.plan.budget import Budget
from indexes.plan.choose import IndexPlan, size_option, size_text
from indexes.plan.keys import GRAPH_LINKS, Shape, cells_shape, flat_shape, graph_shape
from toolkit.errors import InputError, UsageError

_BUILD_PLACES = 200  # HNSW: places that are kept open while a vector is put in
_PLACES = 64
_MOST_PLACES = 32_768
_PROBED_SHARE = 0.02
_KEYS = {"flat": "FLAT", "ivf-flat": "IVF_FLAT", "hnsw": "HNSW"}
_EMBEDDED = ("FLAT", "IVF_FLAT")  # what the embedded engine has


def plan_milvus(
    vectors: int, dim: int, budget: Budget, *, embedded: bool, key: str | None = None
) -> IndexPlan:
    """The index for so many vectors: exact while that is fast enough, then a graph, or cells.

    All of them keep the vectors whole, so that scores are cosines; the memory is Milvus's.
    key: FLAT, IVF_FLAT or HNSW, whatever the budget says. Raises UsageError for another key,
    InputError where nothing fits or the embedded engine does not have it.
    """
    flat, cells, graph = (
        _estimate(shape, vectors, dim, budget)
        for shape in (flat_shape(dim), cells_shape(vectors, dim), graph_shape(dim))
    )
    if key is not None:
        return _asked_for(key.upper(), (flat, cells, graph), embedded=embedded)
    if flat.query_ms <= budget.most_ms or not vectors or budget.recall == 1:
        return _within([flat], budget)
    return _within([cells] if embedded else [graph, cells], budget)


def params_of(plan: IndexPlan, vectors: int) -> dict[str, int]:
    """What Milvus makes such an index with."""
    if plan.key == "HNSW":
        return {"M": GRAPH_LINKS, "efConstruction": _BUILD_PLACES}
    return {"nlist": costs.cells_for(vectors)} if plan.key == "IVF_FLAT" else {}


def search_params(kind: str, count: int, params: Mapping[str, int]) -> dict[str, int]:
    """How an index of this type is searched for `count` hits."""
    if kind == "HNSW":
        return {"ef": min(max(_PLACES, 2 * count), _MOST_PLACES)}
    if kind == "IVF_FLAT":
        return {"nprobe": max(8, math.ceil(params.get("nlist", 1) * _PROBED_SHARE))}
    return {}


def _within(plans: list[IndexPlan], budget: Budget) -> IndexPlan:
    """The first that is not too large."""
    allowed = math.inf if budget.memory_bytes is None else budget.memory_bytes
    for plan in plans:
        if plan.memory_bytes <= allowed:
            return plan
    least = min(plans, key=lambda plan: plan.memory_bytes)
    raise InputError(
        f"An index in Milvus holds whole vectors: {size_text(least.memory_bytes)} of memory, "
        f"and {size_text(allowed)} are allowed.",
        mend=f"Give --memory {size_option(least.memory_bytes)}, or keep the index in a folder.",
    )


def _asked_for(key: str, plans: tuple[IndexPlan, ...], *, embedded: bool) -> IndexPlan:
    chosen = [plan for plan in plans if plan.key == key]
    if not chosen:
        raise UsageError(
            f"{key!r} is no type of index that vr makes in Milvus.",
            mend=f"Give one of {', '.join(plan.key for plan in plans)}.",
        )
    if embedded and key not in _EMBEDDED:
        raise InputError(
            f"The embedded Milvus has no {key}.",
            mend=f"Give one of {', '.join(_EMBEDDED)}, or run a Milvus server.",
        )
    return chosen[0]


def _estimate(shape: Shape, vectors: int, dim: int, budget: Budget) -> IndexPlan:
    whole = vectors * dim * costs.FLOAT_BYTES
    beside = shape.memory_bytes(vectors) if shape.kind == "hnsw" else 0
    held = whole + beside if shape.kind != "ivf-flat" else shape.memory_bytes(vectors)
    return IndexPlan(
        kind=shape.kind,
        key=_KEYS[shape.kind],
        memory_bytes=held,
        peak_bytes=costs.peak_bytes(shape, vectors, dim),
        disk_bytes=whole + held,
        build_s=costs.build_s(shape, vectors, dim, 1),
        query_ms=costs.query_ns(shape, vectors, dim, budget.recall) / 1e6,
        recall=budget.recall,
        reasons=(f"{_KEYS[shape.kind]}: {_REASONS[shape.kind]}; the memory is Milvus's",),
    )


_REASONS = {
    "flat": "exact, and fast enough or asked for",
    "ivf-flat": "exact search would take too long; less memory than a graph",
    "hnsw": "exact search would take too long",
}
