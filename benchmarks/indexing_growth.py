"""How build time and query time grow with the number of vectors."""

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from indexing_build import planned
from indexing_measuring import AT, Bench, in_child, megabytes, rows_of, table, times_ms
from plotting import Curve, draw_growth
from synthetic_vectors import DIM, blocks, make_queries

from indexes.vectors.approximate import BuildOptions, index_segment
from indexes.vectors.flat import FlatWriter
from indexes.vectors.load import load_faiss
from indexes.vectors.segment import open_segment

_QUERIES = 500
_EXACT_QUERIES = 20


def growth(bench: Bench) -> str:
    """Seconds and milliseconds by size, their exponents, and a plot."""
    sizes = [int(size) for size in bench.options.growth.split(",")]
    common = {"folder": str(bench.folder), "threads": bench.threads}
    found = [in_child("indexing_growth", "grown", count=count, **common) for count in sizes]
    rows = [
        [
            f"{count:,}", each["key"], f"{each['write_s']:.1f}", f"{each['index_s']:.1f}",
            f"{each['measure_s']:.1f}", f"{each['p50']:.2f}", f"{each['p99']:.2f}",
            f"{each['exact_ms']:.2f}", each["recall"], megabytes(each["base"]),
        ]
        for count, each in zip(sizes, found, strict=True)
    ]  # fmt: skip
    header = ["vectors", "chosen", "write s", "train and add s", "tune and measure s"]
    header += ["p50 ms", "p99 ms", "exact search ms", "recall@10 stored", "index MB"]
    curves = [
        Curve("build, s", [each["build_s"] for each in found]),
        Curve("query, ms", [each["p50"] for each in found]),
        Curve("exact query, ms", [each["exact_ms"] for each in found]),
    ]
    said = ", ".join(f"{curve.name} {exponent(sizes, curve.values):.2f}" for curve in curves)
    if bench.options.plot:
        bench.options.plot.write_text(draw_growth(sizes, curves, "vectors"), encoding="utf-8")
    return (
        f"The automatic choice, {bench.threads} threads to build and one to search, files in "
        "memory. Vectors are written as they are made, and the time to make them does not count.\n"
        "\n" + table(header, rows) + f"\nExponents by least squares of the logarithms: {said}.\n"
    )


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of the logarithm of values over that of sizes."""
    logarithms = [math.log(max(value, 1e-6)) for value in values]
    return float(np.polyfit(np.log(sizes), logarithms, 1)[0])


def grown(count: int, folder: str, threads: int) -> dict[str, Any]:
    """Write, index and search so many vectors, then delete them."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(threads)
    target = Path(folder) / "growth"
    shutil.rmtree(target, ignore_errors=True)
    try:
        return _grown(count, target, threads)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _grown(count: int, target: Path, threads: int) -> dict[str, Any]:
    write_s = 0.0
    with FlatWriter(target, DIM) as writer:
        for block in blocks(count):
            begun = time.perf_counter()
            writer.append(block)
            write_s += time.perf_counter() - begun
        begun = time.perf_counter()
        flat = writer.finish(rows_of(count))
        write_s += time.perf_counter() - begun
    moments: dict[str, float] = {}
    plan = planned(count, DIM, None, threads)
    begun = time.perf_counter()
    segment = index_segment(
        target,
        flat,
        DIM,
        plan,
        BuildOptions(on_progress=lambda what, *_: moments.setdefault(what, time.perf_counter())),
    )
    ended = time.perf_counter()
    measuring = moments.get("measuring", ended)
    opened = open_segment(target, segment, DIM)
    queries = make_queries(opened.vectors, _QUERIES)
    load_faiss().omp_set_num_threads(1)
    for query in queries:  # once to bring what it looks at into memory
        opened.search(query[None], AT)
    times = times_ms([lambda at: opened.search(queries[at : at + 1], AT)], _QUERIES)[0, 0]
    p50, p99 = np.percentile(times, (50, 99))
    exact = times_ms([lambda at: opened.flat.search(queries[at : at + 1], AT)], _EXACT_QUERIES)[0]
    stored = segment.settings.get("recall@10")
    opened.close()
    return {
        "key": segment.key, "write_s": write_s, "index_s": measuring - begun,
        "measure_s": ended - measuring, "build_s": write_s + ended - begun,
        "p50": p50, "p99": p99, "exact_ms": float(np.median(exact)),
        "recall": "exact" if stored is None else f"{stored:.3f}",
        "base": sum(m.size_bytes for name, m in segment.files.items() if "index" in name),
    }  # fmt: skip
