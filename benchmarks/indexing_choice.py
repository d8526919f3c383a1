"""What the automatic choice finds, and what a process that searches it holds in memory."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from indexing_measuring import (
    AT,
    Bench,
    in_child,
    least_of_ten,
    megabytes,
    recall,
    status_bytes,
    table,
)
from indexing_workspace import bundle, index

from indexes.search.index import open_index
from indexes.search.settings import SearchSettings

_SEARCHES = 1000
_WARM = 5


def choice(bench: Bench) -> str:
    """Recall@10 by the benchmark's own truth, and memory by the kernel's account."""
    rows = []
    for count in bench.sizes:
        folder = index(bench, count)
        bundle(bench)
        vectors = bench.vectors(count)
        queries = bench.asked(vectors)
        np.save(bench.folder / "queries.npy", queries)
        common = {"folder": str(folder), "asked": str(bench.folder / "queries.npy")}
        found = in_child("indexing_choice", "searched", **common)
        right = recall(vectors, queries, least_of_ten(vectors, queries), np.array(found["rows"]))
        empty = in_child("indexing_choice", "loaded", **common)
        # Exact search has nothing but the exact vectors, and looks at all of them.
        exact = found["files"].get("flat.faiss", 0)
        base = found["files"].get("index.faiss", 0) or exact
        held = max(found["vectors"] - empty["anonymous"], 0)
        rows.append([
            f"{count:,}", found["key"], f"{found['stored']}", f"{right:.3f}",
            megabytes(base), megabytes(held), f"{(held + base) / vectors.nbytes:.3f}",
            megabytes(found["whole"] - empty["anonymous"]), megabytes(found["whole"]),
            megabytes(exact),
        ])  # fmt: skip
    header = ["vectors", "index", "recall@10 stored", "recall@10", "index MB", "grown MB"]
    header += ["both / flat vectors", "grown with places MB", "all anonymous MB"]
    return (
        '"recall@10 stored" is what the build measured, on moved vectors of it; the other is of '
        f"{bench.queries} queries that are not in it. Memory is of a process that opened the index "
        f"and searched {_SEARCHES} times: the index's file, mapped, as far as it is in memory; how "
        "much the anonymous memory grew since FAISS was loaded, after searches for vectors alone "
        "and after searches with places and tracks, for which SQLite keeps part of the catalog; "
        "and the pages of the exact vectors, which the system may take back at any moment.\n\n"
        + table([*header, "exact vectors MB"], rows)
    )


def loaded(folder: str, asked: str) -> dict[str, Any]:
    """A process that has imported all and searched an index of one vector in FAISS."""
    from indexes.vectors.load import load_faiss

    faiss = load_faiss()
    faiss.omp_set_num_threads(1)
    queries = np.load(asked, mmap_mode="r")[:_WARM].copy()
    small = faiss.IndexFlatIP(queries.shape[1])
    small.add(queries)
    small.search(queries, 1)
    del folder
    return {"anonymous": status_bytes("RssAnon")}


def searched(folder: str, asked: str) -> dict[str, Any]:
    """The rows that are found, with memory looked at after the searches."""
    from indexes.vectors.load import load_faiss

    load_faiss().omp_set_num_threads(1)
    queries = np.load(asked, mmap_mode="r")
    with open_index(Path(folder)) as opened:
        (segment,) = opened.store.segments  # type: ignore[attr-defined]
        for query in queries[:_SEARCHES]:
            segment.search(query[None], AT)
        alone = status_bytes("RssAnon")
        for query in queries[:_SEARCHES]:
            opened.search(query, AT)
        whole, files = status_bytes("RssAnon"), _resident(Path(folder))
        plain = SearchSettings(group_tracks=False)
        ids = [[hit.id for hit in opened.search(query, AT, plain)] for query in queries]
        return {
            "vectors": alone,
            "whole": whole,
            "files": files,
            "key": segment.segment.key,
            "stored": round(segment.segment.settings.get("recall@10", 1.0), 3),
            "rows": [[patch - 1 for patch in row] for row in ids],
        }


def _resident(folder: Path) -> dict[str, int]:
    """Bytes of mapped files of an index in memory, by the end of their names."""
    found: dict[str, int] = {}
    name = ""
    for line in Path("/proc/self/smaps").read_text(errors="replace").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            name = line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) == 6 else ""
        elif line.startswith("Rss:") and name.startswith(str(folder.resolve())):
            end = next((e for e in ("index.faiss", "flat.faiss") if name.endswith(e)), None)
            end = end or Path(name).name
            found[end] = found.get(end, 0) + 1024 * int(line.split()[1])
    return found
