"""What the benchmarks of indexes share: processes of their own, their memory, truth, recall."""

import argparse
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synthetic_vectors import make_queries, tracks_of, write_vectors

from indexes.vectors.load import load_faiss
from toolkit.embedding import Embeddings, chunks

AT = 10
_TIE = 1e-6  # the same cosine summed in another order
_EVERY_S = 0.005
_BLOCK = 200_000
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 10: 2.262}  # of 95 %, by draws


@dataclass(frozen=True, slots=True)
class Bench:
    """What every section is given: where to work, sizes, and how often a thing is repeated."""

    folder: Path
    sizes: tuple[int, ...]
    turns: int
    queries: int
    threads: int
    options: argparse.Namespace

    def vectors(self, count: int) -> Embeddings:
        """So many synthetic vectors, mapped."""
        return write_vectors(self.npy(count), count)

    def npy(self, count: int) -> Path:
        """The file they lie in."""
        return self.folder / f"vectors-{count}" / "vectors.npy"

    def asked(self, vectors: Embeddings, seed: int = 0) -> Embeddings:
        """Queries that are not among the vectors."""
        return make_queries(vectors, self.queries, seed)


def rows_of(count: int) -> NDArray[np.int64]:
    """Patch and track of each synthetic vector, as a segment has them, (count, 2)."""
    return np.stack([np.arange(1, count + 1), tracks_of(count) + 1], axis=1)


def least_of_ten(vectors: Embeddings, queries: Embeddings) -> NDArray[np.float32]:
    """The cosine of each query's tenth nearest, by looking at all vectors."""
    faiss = load_faiss()
    best = np.full((len(queries), AT), -np.inf, np.float32)
    for part in chunks(len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[part])
        scores, _ = faiss.knn(queries, block, AT, metric=faiss.METRIC_INNER_PRODUCT)
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :AT]
    return best[:, -1]


def recall(
    vectors: Embeddings, queries: Embeddings, least: NDArray[np.float32], rows: NDArray[np.int64]
) -> float:
    """recall@10 of rows found (Q, 10): right is what is as near as the tenth nearest."""
    good = 0
    for query, floor, found in zip(queries, least, rows, strict=True):
        there = np.unique(found[found >= 0])
        good += int((np.asarray(vectors[there]) @ query >= floor - _TIE).sum())
    return good / (AT * len(queries))


def times_ms(calls: Sequence[Callable[[int], object]], count: int) -> NDArray[np.float64]:
    """Milliseconds of each call with 0, 1 ... count - 1, in turns, (2, calls, count).

    First those that passed, then those that the processor worked for this thread. Who comes
    first changes from one number to the next: what one call leaves in the cache, or drives
    out of it, is felt by the next.
    """
    seconds = np.empty((2, len(calls), count))
    for number in range(count):
        for turn in range(len(calls)):
            which = (turn + number) % len(calls)
            begun, worked = time.perf_counter(), time.thread_time()
            calls[which](number)
            seconds[:, which, number] = (
                time.perf_counter() - begun,
                time.thread_time() - worked,
            )
    return 1e3 * seconds


def status_bytes(field: str) -> int:
    """A figure of /proc/self/status: VmHWM, RssAnon, RssFile."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"this system does not say {field}")


class Peak:
    """The most anonymous memory between two moments, looked at every few milliseconds.

    VmHWM also counts pages of mapped files, which the system takes back when it needs them.
    """

    def __enter__(self) -> "Peak":
        self._stop = threading.Event()
        self.before = self.bytes = status_bytes("RssAnon")
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.bytes = max(self.bytes, status_bytes("RssAnon"))

    @property
    def grown(self) -> int:
        """Bytes above what was there before."""
        return self.bytes - self.before


def in_child(module: str, function: str, **arguments: Any) -> dict[str, Any]:
    """The JSON that a function of a module of this folder returns, in a process of its own."""
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); "
        f"from {module} import {function} as task; "
        "print(json.dumps(task(**json.loads(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def megabytes(size: float) -> str:
    """Bytes as MB."""
    return f"{size / 1e6:.0f}" if size >= 1e7 else f"{size / 1e6:.1f}"


def interval(values: Sequence[float]) -> str:
    """The mean, and its interval of 95 % by Student's t; of one value there is none."""
    half = math.nan
    if len(values) > 1:
        half = _STUDENT.get(len(values), 1.96) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.3f} ± {half:.3f}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
