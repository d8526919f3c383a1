"""Real embeddings: windows of vtest.avi, and how hard synthetic vectors are beside them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from footage import CACHE, vtest
from indexing_build import planned
from indexing_measuring import AT, Bench, least_of_ten, megabytes, recall, rows_of, table
from indexing_workspace import VR
from numpy.typing import NDArray
from synthetic_vectors import make_queries, write_vectors

from indexes.plan.budget import Budget, Machine
from indexes.plan.choose import plan_index
from indexes.vectors.approximate import build_segment
from indexes.vectors.load import load_faiss
from indexes.vectors.segment import open_segment
from toolkit.embedding import Embeddings, embed_images
from toolkit.images import RgbImage
from toolkit.workspace import atomic_file

_WINDOWS = ((128, 64), (192, 96))  # side and step, pixels: 123 of a frame
_QUERIES_A_FRAME = 2
_SIDES = (100, 220)
_HARD = 1500  # queries of the comparison
_DEPTHS = (10, 100, 500)


def real(bench: Bench) -> str:
    """The automatic choice on them, what compression would do, and the comparison."""
    vectors, queries = windows(bench)
    synthetic = write_vectors(bench.folder / f"vectors-{len(vectors)}.npy", len(vectors))
    asked = make_queries(synthetic, min(_HARD, len(queries)))
    queries = np.random.default_rng(0).permutation(queries)[:_HARD]
    rows = [
        *_chosen(bench, "real", vectors, queries),
        *_chosen(bench, "synthetic", synthetic, asked),
    ]
    header = ["vectors", "index", "reading", "recall@10 stored", "recall@10", "index MB"]
    hard = [_hardness("real", vectors, queries), _hardness("synthetic", synthetic, asked)]
    names = ["vectors", "cosine of the nearest", "10th", "100th", "local dimension", "variance in"]
    names += [f"true ten among {depth} of IVF1024,PQ32" for depth in _DEPTHS]
    return (
        f"{len(vectors):,} windows of 795 frames of vtest.avi by a small network trained on its "
        f"first 50 s; {len(queries)} queries are other windows of the same frames. Most windows "
        "show what the same window of another frame shows.\n\n" + table(header, rows) + "\n"
        "How hard both are: median cosines of a query's neighbours, the local intrinsic dimension "
        "(Levina and Bickel, maximum likelihood over 100 neighbours), the number of directions "
        "that carry the variance ((sum of eigenvalues)^2 / sum of squares), and how many of the "
        "true ten product codes put among their first candidates.\n\n" + table(names, hard)
    )


def _chosen(
    bench: Bench, name: str, vectors: Embeddings, queries: Embeddings
) -> Iterator[list[str]]:
    faiss = load_faiss()
    faiss.omp_set_num_threads(bench.threads)
    count, dim = vectors.shape
    tenth = Budget(memory_bytes=vectors.nbytes // 10)
    least = least_of_ten(vectors, queries)
    for plan in (
        planned(count, dim, None, bench.threads),
        plan_index(count, dim, tenth, Machine()),
    ):
        segment = build_segment(bench.folder / "real", vectors, rows_of(count), plan)
        opened = open_segment(bench.folder / "real", segment, dim)
        right = recall(vectors, queries, least, opened.search(queries, AT)[1])
        opened.close()
        size = sum(mark.size_bytes for end, mark in segment.files.items() if "index" in end)
        stored = segment.settings.get("recall@10")
        yield [
            f"{count:,} {name}", segment.key,
            ", ".join(f"{k} {segment.settings[k]}" for k in ("nprobe", "rerank") if stored),
            "exact" if stored is None else f"{stored:.3f}", f"{right:.3f}", megabytes(size),
        ]  # fmt: skip


def _hardness(name: str, vectors: Embeddings, queries: Embeddings) -> list[str]:
    faiss = load_faiss()
    block = np.array(vectors)
    near = faiss.knn(queries, block, 100, metric=faiss.METRIC_INNER_PRODUCT)[0]
    far = np.sqrt(np.maximum(2 - 2 * near, 1e-12))
    local = -1 / np.mean(np.log(far[:, :-1] / far[:, -1:]), axis=1)
    eigen = np.linalg.eigvalsh(np.cov(block[::5].T))
    index = faiss.index_factory(vectors.shape[1], "IVF1024,PQ32np", faiss.METRIC_INNER_PRODUCT)
    index.train(block[np.random.default_rng(0).permutation(len(block))[:40_000]])
    index.add(block)
    index.nprobe = 64
    found = index.search(queries, max(_DEPTHS))[1]
    among = [_among(vectors, queries, near[:, AT - 1], found[:, :depth]) for depth in _DEPTHS]
    cells = [f"{np.median(near[:, at]):.3f}" for at in (0, 9, 99)]
    cells += [f"{np.median(local):.1f}", f"{eigen.sum() ** 2 / (eigen**2).sum():.1f}"]
    return [name, *cells, *(f"{share:.3f}" for share in among)]


def _among(
    vectors: Embeddings, queries: Embeddings, least: NDArray[np.float32], rows: NDArray[np.int64]
) -> float:
    good = 0
    for query, floor, found in zip(queries, least, rows, strict=True):
        there = vectors[found[found >= 0]] @ query
        good += min(int((there >= floor - 1e-6).sum()), AT)
    return good / (AT * len(queries))


def windows(bench: Bench) -> tuple[Embeddings, Embeddings]:
    """Embeddings of windows of every frame, and of others as queries; made once."""
    paths = bench.folder / "real-vectors.npy", bench.folder / "real-queries.npy"
    if not all(path.is_file() for path in paths):
        made = _embed(bench.options.bundle or _bundle(bench.folder))
        for path, rows in zip(paths, made, strict=True):
            with atomic_file(path) as draft, draft.open("wb") as stream:
                np.save(stream, rows)
    vectors, queries = (np.load(path, mmap_mode="r") for path in paths)
    return vectors, queries


def _embed(bundle: Path) -> tuple[Embeddings, Embeddings]:
    from deploy.runtimes import open_embedder
    from toolkit.video.decode import frames

    embedder: Any = open_embedder(bundle, "onnx", "cpu", None)
    generator = np.random.default_rng(0)
    vectors, queries = [], []
    for frame in frames(vtest()):
        vectors.append(embed_images(embedder, list(_windows(frame.rgb()))))
        queries.append(embed_images(embedder, list(_others(frame.rgb(), generator))))
    embedder.close()
    return np.concatenate(vectors), np.concatenate(queries)


def _windows(image: RgbImage) -> Iterator[RgbImage]:
    height, width = image.shape[:2]
    for side, step in _WINDOWS:
        for top in range(0, height - side + 1, step):
            for left in range(0, width - side + 1, step):
                yield image[top : top + side, left : left + side]


def _others(image: RgbImage, generator: np.random.Generator) -> Iterator[RgbImage]:
    height, width = image.shape[:2]
    for _ in range(_QUERIES_A_FRAME):
        side = int(generator.integers(*_SIDES))
        top, left = int(generator.integers(height - side)), int(generator.integers(width - side))
        yield image[top : top + side, left : left + side]


def _bundle(folder: Path) -> Path:
    """A small network trained for two minutes on the first 50 s, as `quality.py` trains it."""
    from quality import trained_run
    from quality_protocol import write_training_shard

    from toolkit.mining.settings import MiningSettings
    from toolkit.mining.work.run import mine
    from toolkit.patches.shards import find_shards, read_pairs

    out = CACHE / "quality"
    if not find_shards(out / "patches"):
        mine([vtest()], out / "patches", MiningSettings())
    if not find_shards(out / "train"):
        write_training_shard(read_pairs(out / "patches"), out / "train")
    run = trained_run(out, out / "train", "modern", 0)
    target = folder / "trained"
    if not (target / "model.json").is_file():
        subprocess.run([VR, "export", str(run), "--out", str(target)], check=True)
    return target
