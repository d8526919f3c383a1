"""Building and searching indexes on a GPU beside the same on the processor. One call, no data.

Prints Markdown: seconds to train and fill, milliseconds of single queries and queries a second
in batches, recall on both, and whether a search among some of the rows gives the same. `--device
cpu` tries the script itself without a GPU. It never ran on one.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from indexing_measuring import AT, least_of_ten, recall, rows_of, table, times_ms
from machine import describe
from synthetic_vectors import DIM, blocks, make_queries

from indexes.plan.budget import Budget, Machine
from indexes.plan.choose import plan_index
from indexes.records import Segment
from indexes.vectors.approximate import BuildOptions, index_segment
from indexes.vectors.flat import FlatWriter
from indexes.vectors.gpu import resolve_device
from indexes.vectors.load import load_faiss
from indexes.vectors.segment import open_segment
from toolkit.embedding import Embeddings
from toolkit.errors import MissingError, VrError
from toolkit.machine.cuda import list_gpus

_KEYS = ("Flat", "IVF{cells},Flat", "OPQ32_128,IVF{cells},PQ32np", "HNSW16")
_SINGLE, _BATCH = 500, 4096
_SHARE = 0.1  # of the rows that the search among some may find


def main() -> int:
    """Measure and print; exit code 6 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--sizes", default="100000,1000000,10000000", help="with commas")
    parser.add_argument("--keys", nargs="+", default=_KEYS, help="FAISS's, {cells} filled in")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "vr-indexes")
    options = parser.parse_args()
    try:
        resolve_device(options.device)
    except MissingError as error:
        print(f"Nothing was measured. {error}")
        return error.exit_code
    faiss = load_faiss()
    gpus = ", ".join(gpu.name for gpu in list_gpus()) if options.device == "cuda" else "none"
    print(f"{describe()}\n- FAISS {faiss.__version__} ({faiss.get_compile_options().strip()})")
    print(f"- GPUs: {gpus}\n")
    target = options.folder / "gpu"
    rows = []
    for count in map(int, options.sizes.split(",")):
        shutil.rmtree(target, ignore_errors=True)
        flat = _written(target, count)
        for key in options.keys:
            cells = 1 << round(np.log2(2 * count**0.5))
            rows += _beside(target, flat, key.format(cells=cells), options.device)
    shutil.rmtree(target, ignore_errors=True)
    header = ["vectors", "index", "on", "train, fill, tune s", "one query p50 ms", "p99 ms"]
    header += ["queries/s in batches", "recall@10", "among a tenth: as exact"]
    print(table(header, rows))
    return 0


def _written(target: Path, count: int) -> Segment:
    with FlatWriter(target, DIM) as writer:
        for block in blocks(count):
            writer.append(block)
        return writer.finish(rows_of(count))


def _beside(target: Path, flat: Segment, key: str, device: str) -> list[list[str]]:
    """The same key built and searched on the processor and on the device."""
    rows = []
    for where in dict.fromkeys(("cpu", device)):
        plan = plan_index(flat.vectors, DIM, Budget(), Machine(threads=1), key)
        begun = time.perf_counter()
        try:
            segment = index_segment(target, flat, DIM, plan, BuildOptions(device=where))
            seconds = time.perf_counter() - begun
            cells = _searched(target, segment, where)
        except VrError as error:  # too little room, or no form there: that is an answer too
            rows.append([f"{flat.vectors:,}", key, where, str(error), "", "", "", "", ""])
            continue
        rows.append([f"{flat.vectors:,}", key, where, f"{seconds:.1f}", *cells])
    return rows


def _searched(target: Path, segment: Segment, device: str) -> list[str]:
    opened = open_segment(target, segment, DIM, device)
    queries = make_queries(opened.vectors, _BATCH)
    opened.search(queries, AT)  # kernels are chosen, pages are read
    p50, p99 = np.percentile(
        times_ms([lambda at: opened.search(queries[at : at + 1], AT)], _SINGLE)[0, 0], (50, 99)
    )
    begun = time.perf_counter()
    found = opened.search(queries, AT)[1]
    rate = _BATCH / (time.perf_counter() - begun)
    some = queries[:_SINGLE]
    right = recall(opened.vectors, some, least_of_ten(opened.vectors, some), found[:_SINGLE])
    among = _among(opened, some)
    opened.close()
    return [f"{p50:.3f}", f"{p99:.3f}", f"{rate:.0f}", f"{right:.3f}", f"{among:.3f}"]


def _among(opened: Any, queries: Embeddings) -> float:
    """recall@10 of a search that may find a tenth of the rows: a GPU may ignore the filter."""
    allowed = np.random.default_rng(0).random(len(opened)) < _SHARE
    rows = opened.search(queries, AT, allowed)[1]
    if not allowed[rows[rows >= 0]].all():
        return float("nan")  # rows that were not allowed
    places = np.flatnonzero(allowed)
    vectors = np.ascontiguousarray(opened.vectors[places])
    least = least_of_ten(vectors, queries)
    return recall(opened.vectors, queries, least, rows)


if __name__ == "__main__":
    sys.exit(main())
