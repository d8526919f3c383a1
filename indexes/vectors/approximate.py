"""Make a segment that is searched without looking at every vector, and measure how well."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.plan.choose import IndexPlan
from indexes.records import FileMark, Segment
from indexes.vectors.base import Base, base_of, write_base
from indexes.vectors.effort import AT
from indexes.vectors.files import BASE, FLAT, ROWS, map_file, mark_of, open_flat, open_rows
from indexes.vectors.flat import FlatWriter
from indexes.vectors.keys import kind_of
from indexes.vectors.recall import ask, held_out_rows, recall_of
from indexes.vectors.segment import USUAL, OpenSegment
from indexes.vectors.train import OnProgress, fill, no_progress, train
from indexes.vectors.tune import Aim, tune
from toolkit.drafts import close_draft, new_draft, sweep
from toolkit.embedding import Embeddings, chunks
from toolkit.workspace import atomic_file, storage_errors

RECALL = f"recall@{AT}"
ENOUGH = "enough_ms"
_DRAFT = "new" + BASE
_COPIED = 65_536
_UNUSUAL_PERCENT = 1
_HARDER = 0.01  # at least so much more is aimed at where too little was measured
_GROWTH = 2  # trained again when there are so many times the vectors


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a segment is built.

    device: "cpu" or "cuda", where training and filling run; previous: an open segment of the
    same model whose training, and whose filling as far as the rows are the same, is used
    again; on_progress: told what is done, how much, of how much.
    """

    device: str = "cpu"
    previous: OpenSegment | None = None
    on_progress: OnProgress = no_progress


def build_segment(
    folder: Path,
    vectors: Embeddings,
    rows: NDArray[np.int64],
    plan: IndexPlan,
    options: BuildOptions | None = None,
) -> Segment:
    """Write vectors float32 (N, D) of length 1 and their rows int64 (N, 2) as a segment.

    The vectors may be mapped: memory holds pieces of them, but for HNSW, which needs them all.
    Raises StorageError, InputError or MismatchError for vectors that are none (see
    `check_vectors`), UsageError for a key that FAISS cannot make, MissingError.
    """
    with FlatWriter(folder, vectors.shape[1]) as writer:
        for part in chunks(len(vectors), _COPIED):
            writer.append(np.asarray(vectors[part]))
        segment = writer.finish(np.ascontiguousarray(rows, np.int64))
    return index_segment(folder, segment, vectors.shape[1], plan, options)


def index_segment(
    folder: Path, flat: Segment, dim: int, plan: IndexPlan, options: BuildOptions | None = None
) -> Segment:
    """The segment whose exact vectors are written, with the index of the plan over them.

    Its files stay as they are and get one more. `settings` then has the effort that reaches
    the recall of the plan on some questions (`recall.ask`), the recall measured on others,
    `recall` (what was asked for), `usual_cosine` (with the tenth nearest) and `trained_on`. A
    recall that the latency of the plan does not allow is no error: `enough_ms` then says how
    long a query would take that reaches it, by estimate.
    """
    if plan.kind == "flat":
        return flat
    options = options or BuildOptions()
    exact, vectors = open_flat(folder / (flat.stem + FLAT), flat, dim)
    held_out = held_out_rows(len(vectors))
    index, trained_on = _filled(folder, flat, vectors, plan, options)
    kind = kind_of(index, plan.key)
    if kind == "flat":
        return flat
    suffix, mark = _write(folder, flat.stem, index)
    options.on_progress("measuring", len(vectors), len(vectors))
    del index
    path = folder / (flat.stem + suffix)
    opened = OpenSegment(flat, exact, vectors, open_rows(folder / (flat.stem + ROWS), flat))
    base = base_of(map_file(path, mark), path, exact)
    settings = _measured(opened, base, held_out, plan)
    return replace(
        flat,
        kind=kind,
        key=plan.key,
        settings=settings | {"trained_on": trained_on},
        files={**flat.files, suffix: mark},
    )


def _filled(
    folder: Path, flat: Segment, vectors: Embeddings, plan: IndexPlan, options: BuildOptions
) -> tuple[Any, int]:
    """A filled index, and how many vectors there were when it was trained."""
    index, first, trained_on = None, 0, len(vectors)
    if options.previous is not None:
        index, first, trained_on = _taken_over(folder, flat, vectors, plan, options.previous)
    if index is None:
        options.on_progress("training", 0, len(vectors))
        index = train(plan.key, vectors, held_out_rows(len(vectors)))
    if options.device == "cuda":
        from indexes.vectors.gpu import fill_on_gpu

        return fill_on_gpu(index, vectors, first, options.on_progress), trained_on
    fill(index, vectors, first, options.on_progress)
    return index, trained_on


def _taken_over(
    folder: Path, flat: Segment, vectors: Embeddings, plan: IndexPlan, previous: OpenSegment
) -> tuple[Any, int, int]:
    """The index of another segment, as far as it serves here; None where it does not.

    All of it where its rows are the first rows here, else only what it was trained to.
    """
    trained_on = int(previous.segment.settings.get("trained_on", 0))
    old = previous.base
    if not isinstance(old, Base) or old.is_graph or previous.segment.key != plan.key:
        return None, 0, len(vectors)
    if len(vectors) >= _GROWTH * max(trained_on, 1):
        return None, 0, len(vectors)
    index = old.copy()
    rows = open_rows(folder / (flat.stem + ROWS), flat)
    count = len(previous)
    if count <= len(rows) and np.array_equal(rows[:count], previous.rows):
        return index, count, trained_on
    index.reset()
    return index, 0, trained_on


def _write(folder: Path, stem: str, index: Any) -> tuple[str, FileMark]:
    with storage_errors(folder):
        sweep(folder / _DRAFT)
        draft = new_draft(folder / _DRAFT)
    try:
        with storage_errors(folder):
            write_base(index, draft)
        mark = mark_of(draft)
        suffix = f".{mark.sha256[:8]}{BASE}"
        with atomic_file(folder / (stem + suffix)) as named:
            draft.replace(named)
    finally:
        close_draft(draft)
    return suffix, mark


def _measured(
    opened: OpenSegment, base: Base, held_out: NDArray[np.int64], plan: IndexPlan
) -> dict[str, Any]:
    """Tune on one half of the questions and measure on the other."""
    questions = ask(opened.vectors, held_out)
    opened.base, aim = base, Aim(plan.recall, 1e6 * plan.latency_ms)
    while True:
        choice = tune(base, opened.vectors, questions.half(0), aim)
        opened.effort = choice.used.effort
        measured = recall_of(questions.half(1), partial(opened.search, sure=AT))
        enough = measured is None or measured >= plan.recall
        if enough or not choice.reached:
            break
        # The one half was easier than the other.
        aim = replace(aim, recall=aim.recall + max(plan.recall - (measured or 0.0), _HARDER))
    known = {} if measured is None else {RECALL: measured}
    if not enough:
        known[ENOUGH] = choice.enough.cost_ns / 1e6
    usual = float(np.percentile(questions.least, _UNUSUAL_PERCENT))
    return {**choice.used.effort.as_json(), **known, "recall": plan.recall, USUAL: usual}
