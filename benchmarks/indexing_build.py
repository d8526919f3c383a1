"""What building costs beside FAISS alone, and beside autofaiss."""

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from indexing_measuring import (
    AT,
    Bench,
    Peak,
    in_child,
    least_of_ten,
    megabytes,
    recall,
    rows_of,
    status_bytes,
    table,
)
from indexing_workspace import bundle, described

from indexes.plan.budget import Budget, Machine
from indexes.plan.choose import IndexPlan, plan_index
from indexes.vectors.approximate import BuildOptions, build_segment
from indexes.vectors.load import load_faiss
from indexes.vectors.recall import held_out_rows
from indexes.vectors.segment import open_segment
from indexes.vectors.train import train

_CODES = "OPQ32_128,IVF{cells},PQ32np"  # where the plan says flat, which there is nothing to train
_RAW, _RAW_AS_OURS = "FAISS train, add, write", "the same, trained as `vr` trains"
_SEGMENT, _WHOLE = "`build_segment`", "`build`: .npy and .csv to index"
_ADDED = 32_768
_FEWEST = 50_000  # of less there is nothing to build: they are searched exactly


def key_for(count: int) -> str:
    """The key that the plan chooses, or a compressed one where it chooses exact search."""
    plan = plan_index(count, 128, Budget(), Machine())
    cells = 1 << max(round(np.log2(2 * count**0.5)), 6)
    return _CODES.format(cells=cells) if plan.kind == "flat" else plan.key


def build(bench: Bench) -> str:
    """Seconds and peak memory of each way, over FAISS alone, each in a process of its own."""
    rows = []
    for count in (size for size in bench.sizes if size >= _FEWEST):
        described(bench, count)
        bundle(bench)
        common = {"npy": str(bench.npy(count)), "key": key_for(count), "threads": bench.threads}
        common["folder"] = str(bench.folder)
        ways = {
            _RAW: ("raw_build", {"as_ours": False}),
            _RAW_AS_OURS: ("raw_build", {"as_ours": True}),
            _SEGMENT: ("segment_build", {}),
            _WHOLE: ("whole_build", {}),
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
        for _ in range(bench.turns):
            for name, (function, more) in ways.items():
                found[name].append(in_child("indexing_build", function, **common, **more))
        rows += [_row(count, common["key"], name, each, found) for name, each in found.items()]
    header = ["vectors", "index", "what", "s", "of that measuring", "/ FAISS", "/ trained as `vr`"]
    header += ["anonymous MB", "/ FAISS", "VmHWM MB", "/ FAISS"]
    return (
        "Medians of processes of their own, in turns. FAISS reads the same mapped file, takes its "
        "own default sample for training, and writes its index; it writes no exact vectors and "
        "measures no recall. Memory is the most anonymous memory above what was there once FAISS "
        "was loaded, and VmHWM, which counts the pages of mapped files too.\n\n"
        + table(header, rows)
    )


def _row(
    count: int,
    key: str,
    name: str,
    each: Sequence[dict[str, Any]],
    found: dict[str, list[dict[str, Any]]],
) -> list[str]:
    def median(runs: Sequence[dict[str, Any]], field: str) -> float:
        return statistics.median(run.get(field, 0.0) for run in runs)

    def over(other: str, field: str) -> str:
        ratios = [a[field] / b[field] for a, b in zip(each, found[other], strict=True)]
        return f"{statistics.median(ratios):.2f}"

    measuring = median(each, "measuring_s")
    return [
        f"{count:,}", key, name, f"{median(each, 's'):.1f}",
        f"{measuring:.1f}" if measuring else "", over(_RAW, "s"), over(_RAW_AS_OURS, "s"),
        megabytes(median(each, "peak")), over(_RAW, "peak"),
        megabytes(median(each, "hwm")), over(_RAW, "hwm"),
    ]  # fmt: skip


def raw_build(npy: str, key: str, threads: int, folder: str, as_ours: bool) -> dict[str, Any]:
    """FAISS alone: train on its default sample, or as `vr` does; add; write."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(threads)
    out = Path(folder) / "raw.faiss"
    with Peak() as peak:
        begun = time.perf_counter()
        vectors = np.load(npy, mmap_mode="r")
        if as_ours:
            index = train(key, vectors, held_out_rows(len(vectors)))
        else:
            index = faiss.index_factory(vectors.shape[1], key, faiss.METRIC_INNER_PRODUCT)
            index.train(_default_sample(faiss, index, vectors))
        for first in range(0, len(vectors), _ADDED):
            index.add(np.ascontiguousarray(vectors[first : first + _ADDED]))
        faiss.write_index(index, str(out))
        seconds = time.perf_counter() - begun
    out.unlink()
    return {"s": seconds, "peak": peak.grown, "hwm": status_bytes("VmHWM")}


def _default_sample(faiss: Any, index: Any, vectors: Any) -> Any:
    """As many vectors as FAISS would take of all; it would rotate all of them before."""
    cells = faiss.extract_index_ivf(index).nlist
    wanted = max(256 * cells, 65_536)
    rows = np.random.default_rng(0).permutation(len(vectors))[:wanted]
    return np.ascontiguousarray(vectors[np.sort(rows)])


def segment_build(npy: str, key: str, threads: int, folder: str) -> dict[str, Any]:
    """The vectors' part: exact vectors and rows written, the index trained, filled, measured."""
    load_faiss().omp_set_num_threads(threads)
    target = _fresh(Path(folder) / "segment")
    vectors = np.load(npy, mmap_mode="r")
    plan = planned(len(vectors), vectors.shape[1], key, threads)
    measuring = [0.0]

    def note(what: str, done: int, total: int) -> None:
        del done, total
        if what == "measuring":
            measuring[0] = time.perf_counter()

    with Peak() as peak:
        begun = time.perf_counter()
        build_segment(target, vectors, rows_of(len(vectors)), plan, BuildOptions(on_progress=note))
        ended = time.perf_counter()
    shutil.rmtree(target)
    return {
        "s": ended - begun,
        "measuring_s": ended - measuring[0] if measuring[0] else 0.0,
        "peak": peak.grown,
        "hwm": status_bytes("VmHWM"),
    }


def whole_build(npy: str, key: str, threads: int, folder: str) -> dict[str, Any]:
    """All of `vr index build` but starting Python and its imports."""
    from deploy.runtimes import open_embedder
    from indexes.build.budget import Wish
    from indexes.build.build import build as build_index
    from indexes.build.settings import BuildSettings

    load_faiss().omp_set_num_threads(threads)
    target = _fresh(Path(folder) / "whole")
    embedder = open_embedder(Path(folder) / "exported", "onnx", "cpu", threads)
    settings = BuildSettings(wish=Wish(key=key))
    with Peak() as peak:
        begun = time.perf_counter()
        build_index(target, [Path(npy)], embedder, settings)
        seconds = time.perf_counter() - begun
    embedder.close()
    shutil.rmtree(target)
    return {"s": seconds, "peak": peak.grown, "hwm": status_bytes("VmHWM")}


def planned(count: int, dim: int, key: str | None, threads: int) -> IndexPlan:
    """The plan for so many vectors; key: None for the automatic choice."""
    return plan_index(count, dim, Budget(), Machine(threads=threads), key)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


_AUTOFAISS = """
import json, sys, time, threading
import faiss, numpy
from autofaiss import build_index
def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
before = peak = anonymous()
def watch():
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
folder, out, memory, threads = sys.argv[1:5]
begun = time.perf_counter()
index, infos = build_index(
    embeddings=folder, index_path=out, index_infos_path=out + ".json", metric_type="ip",
    file_format="npy", nb_cores=int(threads), verbose=40, max_index_memory_usage=memory,
    current_memory_available="8GB")
seconds = time.perf_counter() - begun
queries = numpy.load(sys.argv[5])
faiss.omp_set_num_threads(1)
for query in queries[:50]:
    index.search(query[None], 10)
times = []
for query in queries:
    at = time.perf_counter()
    index.search(query[None], 10)
    times.append(1e3 * (time.perf_counter() - at))
numpy.save(out + ".rows.npy", index.search(queries, 10)[1])
print(json.dumps({"s": seconds, "peak": peak - before, "key": infos["index_key"],
                  "parameters": infos["index_param"], "bytes": infos["size in bytes"],
                  "p50": float(numpy.median(times)), "faiss": faiss.__version__}))
"""


def beside_autofaiss(bench: Bench) -> str:
    """Its choice for the memory of ours, and for a gigabyte; time, memory, recall."""
    python = bench.options.autofaiss
    if python is None:
        return "Not measured: no `--autofaiss PYTHON` of an environment that has it.\n"
    rows = []
    for count in (size for size in bench.sizes if size >= _FEWEST):
        vectors = bench.vectors(count)
        queries = bench.asked(vectors)
        least = least_of_ten(vectors, queries)
        asked = bench.folder / "queries.npy"
        np.save(asked, queries)
        common = {"npy": str(bench.npy(count)), "threads": bench.threads, "asked": str(asked)}
        common["folder"] = str(bench.folder)
        ours = in_child("indexing_build", "our_build", key=key_for(count), **common)
        rows.append(_beside(count, "`vr`", ours, ours["recall"]))
        for memory in (f"{ours['bytes'] * 1.05 / 1e6:.0f}MB", "1GB"):
            out = str(bench.folder / "autofaiss.index")
            command = [str(python), "-c", _AUTOFAISS, str(bench.npy(count).parent), out, memory]
            command += [str(bench.threads), str(asked)]
            done = subprocess.run(
                command,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": str(bench.threads)},
            )
            found = json.loads(done.stdout.splitlines()[-1])
            right = recall(vectors, queries, least, np.load(out + ".rows.npy"))
            name = f"autofaiss, {memory} (FAISS {found['faiss']})"
            rows.append(_beside(count, name, found, right))
            for path in bench.folder.glob("autofaiss.index*"):
                path.unlink()
    header = ["vectors", "what", "index", "parameters", "build s", "peak MB", "index MB"]
    return (
        "Both tune and measure within the time; `vr` also writes the exact vectors, with which it "
        "compares candidates again. Recall on the same held-out queries.\n\n"
        + table([*header, "p50 ms", "recall@10"], rows)
    )


def our_build(npy: str, key: str, threads: int, folder: str, asked: str) -> dict[str, Any]:
    """Built, then searched as autofaiss's is."""
    from indexing_measuring import times_ms

    faiss = load_faiss()
    faiss.omp_set_num_threads(threads)
    target = _fresh(Path(folder) / "segment")
    vectors, queries = np.load(npy, mmap_mode="r"), np.load(asked)
    plan = planned(len(vectors), vectors.shape[1], key, threads)
    with Peak() as peak:
        begun = time.perf_counter()
        segment = build_segment(target, vectors, rows_of(len(vectors)), plan)
        seconds = time.perf_counter() - begun
    opened = open_segment(target, segment, vectors.shape[1])
    faiss.omp_set_num_threads(1)
    times = times_ms([lambda at: opened.search(queries[at : at + 1], AT)], len(queries))[0, 0, 50:]
    found = recall(vectors, queries, least_of_ten(vectors, queries), opened.search(queries, AT)[1])
    size = sum(mark.size_bytes for name, mark in segment.files.items() if "index" in name)
    opened.close()
    shutil.rmtree(target)
    return {
        "s": seconds, "peak": peak.grown, "key": key, "bytes": size, "recall": found,
        "p50": float(np.median(times)),
        "parameters": f"nprobe={opened.effort.nprobe},rerank={opened.effort.rerank}",
    }  # fmt: skip


def _beside(count: int, name: str, found: dict[str, Any], right: float) -> list[str]:
    return [
        f"{count:,}", name, found["key"], found["parameters"], f"{found['s']:.1f}",
        megabytes(found["peak"]), megabytes(found["bytes"]), f"{found['p50']:.2f}", f"{right:.3f}",
    ]  # fmt: skip
