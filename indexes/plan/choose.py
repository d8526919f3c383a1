"""From a budget to the one kind of index that suits it, with reasons, or why none does."""

import math
from dataclasses import dataclass, replace
from typing import NoReturn

from indexes.plan import costs
from indexes.plan.budget import Budget, Machine
from indexes.plan.keys import (
    Shape,
    cells_shape,
    codes_shape,
    flat_shape,
    graph_shape,
    read_shape,
)
from toolkit.errors import InputError

_FEWEST_A_CELL = 8  # an inverted file of fewer vectors has more cells than it can fill


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """What is to be built, what it will cost, and why it and not another.

    kind: "flat", "hnsw", "ivf-flat", "ivf-sq" or "ivf-pq"; key: FAISS's factory key;
    memory_bytes: that searching holds or looks through (of flat and HNSW the mapped vectors
    are part of it); peak_bytes: that building holds; disk_bytes: of all files; build_s; query_ms:
    of one query on one core; recall: that was asked for; reasons: for people; latency_ms: that
    a query may take at most when the index is tuned.
    """

    kind: str
    key: str
    memory_bytes: int
    peak_bytes: int
    disk_bytes: int
    build_s: float
    query_ms: float
    recall: float
    reasons: tuple[str, ...] = ()
    latency_ms: float = math.inf


def plan_index(
    vectors: int, dim: int, budget: Budget, machine: Machine, key: str | None = None
) -> IndexPlan:
    """The index for so many vectors of `dim` numbers.

    Without a limit of memory: exact search where it is fast enough, else what holds the
    least memory. key: a factory key of FAISS that is used whatever the budget says. Raises
    UsageError for a key that is none, InputError where nothing fits, naming the nearest
    budget that would do or what the machine lacks.
    """
    if key is not None:
        asked = _estimate(read_shape(key, dim), vectors, dim, budget.recall, machine)
        _check_machine(asked, machine)
        return replace(asked, reasons=(f"{asked.kind}: the key {key} was asked for",))
    plans = [
        _estimate(shape, vectors, dim, budget.recall, machine)
        for shape in _shapes(vectors, dim, budget.recall)
    ]
    fitting = [plan for plan in plans if not _misses(plan, budget)]
    if not fitting:
        _refuse(plans, budget)
    buildable = [plan for plan in fitting if not _lacks(plan, machine)]
    if not buildable:
        _check_machine(min(fitting, key=_memory), machine)
    # The first is flat: exact, nothing to build, and fast enough.
    chosen = buildable[0] if buildable[0].kind == "flat" else min(buildable, key=_memory)
    reasons = tuple(_reason(plan, chosen, budget, machine) for plan in plans)
    return replace(chosen, reasons=reasons, latency_ms=budget.most_ms)


def _memory(plan: IndexPlan) -> int:
    return plan.memory_bytes


def _shapes(vectors: int, dim: int, recall: float) -> list[Shape]:
    if recall == 1 or vectors < _FEWEST_A_CELL * costs.cells_for(vectors):
        return [flat_shape(dim)]  # nothing else is sure to find all, or worth its while
    return [flat_shape(dim), codes_shape(vectors, dim), cells_shape(vectors, dim), graph_shape(dim)]


def _estimate(shape: Shape, vectors: int, dim: int, recall: float, machine: Machine) -> IndexPlan:
    held = shape.memory_bytes(vectors)
    whole = vectors * dim * costs.FLOAT_BYTES
    # A walk through a graph jumps to any of the exact vectors.
    memory = held + (whole if shape.kind == "hnsw" and not shape.code_bytes else 0)
    query_ns = costs.query_ns(shape, vectors, dim, recall)
    if shape.kind == "flat" and memory < machine.gpu_bytes:
        query_ns = costs.flat_ns(vectors, dim, on_gpu=True)
    return IndexPlan(
        kind=shape.kind,
        key=shape.key,
        memory_bytes=memory,
        peak_bytes=costs.peak_bytes(shape, vectors, dim),
        disk_bytes=whole + vectors * costs.ROW_BYTES + (0 if shape.kind == "flat" else held),
        build_s=costs.build_s(shape, vectors, dim, machine.threads),
        query_ms=query_ns / 1e6,
        recall=recall,
    )


def _misses(plan: IndexPlan, budget: Budget) -> str:
    """Why a plan is outside the budget; empty where it is within."""
    if budget.memory_bytes is not None and plan.memory_bytes > budget.memory_bytes:
        return f"holds {size_text(plan.memory_bytes)}, {size_text(budget.memory_bytes)} are allowed"
    if plan.query_ms > budget.most_ms:
        return f"takes {_ms(plan.query_ms)} a query, {_ms(budget.most_ms)} are allowed"
    return ""


def _lacks(plan: IndexPlan, machine: Machine) -> str:
    """What this machine lacks to build a plan; empty where it lacks nothing."""
    for needed, there, what in (
        (plan.peak_bytes, machine.memory_bytes, "memory"),
        (plan.disk_bytes, machine.disk_bytes, "disk"),
    ):
        if there is not None and needed > there:
            return f"{size_text(needed)} of {what} to be built; {size_text(there)} are free"
    return ""


def _check_machine(plan: IndexPlan, machine: Machine) -> None:
    lacking = _lacks(plan, machine)
    if lacking:
        raise InputError(
            f"The index {plan.key} needs about {lacking}.",
            mend="Free some, use a larger machine, or another --index-key.",
        )


def _reason(plan: IndexPlan, chosen: IndexPlan, budget: Budget, machine: Machine) -> str:
    takes = f"{size_text(plan.memory_bytes)}, {_ms(plan.query_ms)} a query"
    if plan is chosen:
        why = "exact, and fast enough" if plan.kind == "flat" else "the least memory that will do"
        return f"{plan.kind} ({plan.key}): {why}; {takes}"
    if missed := _misses(plan, budget):
        return f"not {plan.kind}: it {missed}"
    if lacking := _lacks(plan, machine):
        return f"not {plan.kind}: it needs {lacking}"
    if chosen.kind == "flat":
        return f"not {plan.kind}: exact search is fast enough"
    return f"not {plan.kind}: it holds more; {takes}"


def _refuse(plans: list[IndexPlan], budget: Budget) -> NoReturn:
    asked = [f"{_ms(budget.most_ms)} a query"]
    ways = []
    if budget.memory_bytes is not None:
        asked.insert(0, f"{size_text(budget.memory_bytes)} of memory")
        quick = [plan for plan in plans if plan.query_ms <= budget.most_ms]
        if quick:
            least = min(quick, key=_memory)
            ways.append(f"--memory {size_option(least.memory_bytes)}")
    small = [plan for plan in plans if plan.memory_bytes <= (budget.memory_bytes or math.inf)]
    if small:
        ways.append(f"--latency {_latency_option(min(small, key=_query))}")
    if not ways:
        least = min(plans, key=_memory)
        memory = size_option(least.memory_bytes)
        ways.append(f"--memory {memory} --latency {_latency_option(least)}")
    raise InputError(
        f"No index fits {' and '.join(asked)} at a recall of {budget.recall:g}.",
        mend=f"The nearest that does: {' or '.join(ways)}.",
    )


def _query(plan: IndexPlan) -> float:
    return plan.query_ms


def _latency_option(plan: IndexPlan) -> str:
    return f"{math.ceil(plan.query_ms * 100) / 100:g}ms"


def size_text(size: float) -> str:
    """Bytes for people: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"
        size /= 1024
    raise AssertionError  # the loop ends with the last unit


def size_option(size: int) -> str:
    """Bytes as `--memory` takes them, rounded up: "47M"."""
    return f"{math.ceil(size / (1 << 20))}M"


def _ms(value: float) -> str:
    return f"{value:.2g} ms" if value < 99 else f"{value:.0f} ms"
