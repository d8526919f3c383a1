"""How long a search takes: in an open index beside raw FAISS, and as a whole process."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from indexing_measuring import AT, Bench, in_child, table, times_ms
from indexing_workspace import VR, bundle, index, picture
from numpy.typing import NDArray

from indexes.search.index import PatchIndex, open_index
from indexes.search.settings import SearchSettings
from indexes.vectors.files import BASE
from indexes.vectors.load import load_faiss
from indexes.vectors.segment import OpenSegment
from toolkit.embedding import Embeddings

_WARM = 50
_PLACES = (3, 3, 3, 3, 2, 2, 2)  # behind the point, of the columns of `hot`
_RATIOS = (4, 5)  # which of them are those to raw FAISS
_WAYS = {
    "vectors alone": None,
    "with places": SearchSettings(group_tracks=False),
    "with places, one a track": SearchSettings(),
}


def hot(bench: Bench) -> str:
    """p50 and p99 of single queries, over those of the same FAISS index by itself."""
    rows = []
    for count in bench.sizes:
        folder = index(bench, count)
        for threads in dict.fromkeys((1, bench.threads)):
            arguments = {"queries": bench.queries, "threads": threads, "npy": str(bench.npy(count))}
            found = [
                in_child("indexing_search", "hot_times", folder=str(folder), **arguments)
                for _ in range(bench.turns)
            ]
            for way, of_processes in _by_way(found).items():
                middle, least, most = (f(of_processes, axis=0) for f in (np.median, np.min, np.max))
                cells = [f"{value:.{p}f}" for value, p in zip(middle, _PLACES, strict=True)]
                for at in _RATIOS:
                    cells[at] += f" ({least[at]:.2f} to {most[at]:.2f})"
                rows.append([f"{count:,}", found[0]["key"], threads, way, *cells])
    header = ["vectors", "index", "threads", "what", "p50 ms", "p99 ms", "raw p50 ms", "raw p99 ms"]
    return (
        "One query at a time, each another one, each way in turns with raw FAISS alone. Raw is "
        "the same file read into memory with the same parameters, its candidates compared with "
        "exact vectors in memory. CPU is the processor time of the calling thread, which other "
        "work on the machine changes less. "
        f"Medians of {bench.turns} processes, of the ratios the range too: the memory that raw "
        "FAISS gets begins on a cache line in one process and not in the next, which alone is "
        "an eighth.\n\n" + table([*header, "p50 / raw", "p99 / raw", "CPU p50 / raw"], rows)
    )


def _by_way(found: list[dict[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """The figures of each way, (processes, figures)."""
    of_processes = [{way: figures for way, *figures in one["ways"]} for one in found]
    return {way: np.array([one[way] for one in of_processes]) for way in of_processes[0]}


def hot_times(folder: str, queries: int, threads: int, npy: str) -> dict[str, Any]:
    """In a process of its own: each way's name, p50 and p99, those of raw FAISS, and ratios."""
    from synthetic_vectors import make_queries

    faiss = load_faiss()
    asked = make_queries(np.load(npy, mmap_mode="r"), queries + _WARM, seed=1)
    rows = []
    with open_index(Path(folder)) as opened:
        (segment,) = opened.store.segments  # type: ignore[attr-defined]
        raw = _call(lambda query: raw_index.search(query, AT), asked)
        raw_index = raw_search(segment)
        faiss.omp_set_num_threads(threads)
        for name, way in _ways(opened, segment).items():
            wall, cpu = times_ms([raw, _call(way, asked)], len(asked))[..., _WARM:]
            p50, p99 = np.percentile(wall, (50, 99), axis=1)
            used = np.median(cpu, axis=1)
            ratios = p50[1] / p50[0], p99[1] / p99[0], used[1] / used[0]
            rows.append((name, p50[1], p99[1], p50[0], p99[0], *ratios))
        return {"key": segment.segment.key, "ways": rows}


def _call(way: Callable[[Embeddings], object], asked: Embeddings) -> Callable[[int], object]:
    return lambda number: way(asked[number : number + 1])


def _ways(opened: PatchIndex, segment: OpenSegment) -> dict[str, Callable[[Embeddings], object]]:
    def whole(settings: SearchSettings) -> Callable[[Embeddings], object]:
        return lambda query: opened.search(query, AT, settings)

    return {
        name: (lambda query: segment.search(query, AT)) if settings is None else whole(settings)
        for name, settings in _WAYS.items()
    }


@dataclass(frozen=True, slots=True)
class RawSearch:
    """The index of a segment as plain FAISS searches it: read, not mapped."""

    index: Any
    parameters: Any
    kept: tuple[Any, ...] = ()  # SWIG does not keep what an index only points to

    def search(self, queries: Embeddings, count: int) -> Any:
        """Scores and rows."""
        return self.index.search(queries, count, params=self.parameters)


def raw_search(segment: OpenSegment) -> RawSearch:
    """The same files and parameters in FAISS's own classes, all in memory."""
    faiss = load_faiss()
    exact = faiss.IndexFlatIP(segment.vectors.shape[1])
    exact.add(np.array(segment.vectors))
    if segment.base is None:
        return RawSearch(exact, None)
    base = segment.base.copy()
    effort = segment.effort
    rotated = isinstance(base, faiss.IndexPreTransform)
    core = faiss.downcast_index(base.index) if rotated else base
    if isinstance(core, faiss.IndexHNSW):
        core.storage, core.own_fields = exact, False
        inner = faiss.SearchParametersHNSW(efSearch=effort.ef_search)
    else:
        inner = faiss.SearchParametersIVF(nprobe=effort.nprobe)
        if isinstance(core, faiss.IndexIVFPQ):
            inner = faiss.IVFPQSearchParameters(nprobe=effort.nprobe)
    if rotated:
        inner = faiss.SearchParametersPreTransform(index_params=inner)
    if not segment.base.refines:
        return RawSearch(base, inner, (exact,))
    refined = faiss.IndexRefine(base, exact)
    factor = max(effort.rerank + 0.5, AT) / AT
    parameters = faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)
    return RawSearch(refined, parameters, (base, exact))


def cold(bench: Bench) -> str:
    """Whole-process time of `vr search picture.jpg`, files in the page cache and not."""
    count = max(bench.sizes)
    folder, model, asked = index(bench, count), bundle(bench), picture(bench)
    search = [VR, "search", str(asked), "--index", str(folder), "--model", str(model), "--json"]
    commands = {
        "python -c pass": ([sys.executable, "-c", "pass"], False),
        "vr --help": ([VR, "--help"], False),
        "import numpy, onnxruntime, faiss": (
            [sys.executable, "-c", "import numpy, onnxruntime, faiss"],
            False,
        ),
        "vr search, files in memory": (search, False),
        "vr search, index and bundle on the disk": (search, True),
    }
    files = [path for root in (folder, model) for path in root.rglob("*") if path.is_file()]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    inside: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(bench.options.runs + 1):
        for name, (command, dropped) in commands.items():
            if dropped:
                forget(files)
            begun = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
                if command is search:
                    inside[name].append(json.loads(done.stdout)["milliseconds"] / 1e3)
    rows = []
    for name, each in seconds.items():
        spread = [f"{figure:.3f}" for figure in (statistics.median(each), min(each), max(each))]
        searching = f"{statistics.median(inside[name]):.3f}" if inside[name] else ""
        rows.append([f"`{name}`", *spread, searching])
    header = ["process", "median s", "least s", "most s", "of that in the search s"]
    return (
        f"{count:,} vectors of {index_kind(folder)}; Python and its packages are always in "
        "memory.\n\n" + table(header, rows)
    )


def forget(files: list[Path]) -> None:
    """Take files out of the page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def index_kind(folder: Path) -> str:
    """The keys of an index's segments."""
    with open_index(folder) as opened:
        return ", ".join(
            sorted({each.segment.key for each in opened.store.segments})  # type: ignore[attr-defined]
        )


def base_bytes(segment: OpenSegment) -> int:
    """Bytes of the file that FAISS parses; 0 for flat."""
    return sum(m.size_bytes for s, m in segment.segment.files.items() if s.endswith(BASE))
