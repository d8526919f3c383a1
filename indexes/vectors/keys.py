"""FAISS's factory keys: which of them can serve as an index here, and what kind they make."""

from typing import Any, Literal

from indexes.vectors.load import load_faiss
from toolkit.errors import UsageError

Kind = Literal["flat", "hnsw", "ivf-flat", "ivf-sq", "ivf-pq"]
FLAT_KEY = "Flat"
_MOST_LINKS, _MOST_CELLS = 512, 1 << 20
_EXAMPLES = "Flat, HNSW32, IVF1024,Flat or OPQ32_128,IVF2048,PQ32np"


def make_base(key: str, dim: int) -> Any:
    """An untrained FAISS index for inner products. Raises UsageError, saying why it cannot be."""
    faiss = load_faiss()
    try:
        base = faiss.index_factory(dim, key, faiss.METRIC_INNER_PRODUCT)
    except Exception as error:  # FAISS raises what its C++ throws, of several types
        raise _refused(key, f"FAISS makes no index of {dim} numbers of it") from error
    kind_of(base, key)
    _check_transforms(base, key)
    without_polysemous(base)
    return base


def kind_of(base: Any, key: str) -> Kind:
    """What a FAISS index is. Raises UsageError for one that cannot serve as an index here."""
    faiss = load_faiss()
    if base.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise _refused(key, "it does not compare by inner product")
    core = core_of(base)
    if isinstance(core, faiss.IndexFlat) and not transforms_of(base):
        return "flat"
    if isinstance(core, faiss.IndexHNSW):
        return _within(_links(core), "links", _MOST_LINKS, key, "hnsw")
    if isinstance(core, faiss.IndexIVF):
        quantizer = faiss.downcast_index(core.quantizer)
        if isinstance(quantizer, faiss.IndexHNSW):  # with none FAISS ends the process
            _within(_links(quantizer), "links between its cells", _MOST_LINKS, key, "hnsw")
        return _within(core.nlist, "cells", _MOST_CELLS, key, _kind_of_cells(base, core))
    raise _refused(key, "it is no flat, HNSW or inverted index")


def _kind_of_cells(base: Any, core: Any) -> Kind:
    faiss = load_faiss()
    if isinstance(core, faiss.IndexIVFFlat) and not transforms_of(base):
        return "ivf-flat"
    return "ivf-sq" if isinstance(core, faiss.IndexIVFScalarQuantizer) else "ivf-pq"


def _check_transforms(base: Any, key: str) -> None:
    """What FAISS would complain of only when it is trained."""
    faiss = load_faiss()
    for one in transforms_of(base):
        if isinstance(one, faiss.PCAMatrix | faiss.ITQTransform) and one.d_out > one.d_in:
            raise _refused(key, f"it cannot make {one.d_out} numbers of {one.d_in}")
        if isinstance(one, faiss.OPQMatrix) and one.d_out % one.M:
            raise _refused(key, f"{one.d_out} numbers are not to be cut into {one.M} equal parts")


def core_of(base: Any) -> Any:
    """The index itself, behind the rotation before it."""
    faiss = load_faiss()
    base = faiss.downcast_index(base)
    while isinstance(base, faiss.IndexPreTransform):
        base = faiss.downcast_index(base.index)
    return base


def transforms_of(base: Any) -> list[Any]:
    """What vectors go through before the index itself."""
    faiss = load_faiss()
    base = faiss.downcast_index(base)
    if not isinstance(base, faiss.IndexPreTransform):
        return []
    return [faiss.downcast_VectorTransform(base.chain.at(i)) for i in range(base.chain.size())]


def without_polysemous(base: Any) -> None:
    """Training the codes' order takes many times as long as all the rest and is of no use here."""
    core = core_of(base)
    if hasattr(core, "do_polysemous_training"):
        core.do_polysemous_training = False


def _links(graph: Any) -> int:
    levels = load_faiss().vector_to_array(graph.hnsw.cum_nneighbor_per_level)
    return int(levels[1]) // 2 if len(levels) > 1 else 1  # twice as many on the ground floor


def _within(count: int, what: str, most: int, key: str, kind: Kind) -> Kind:
    if not 2 <= count <= most:
        raise _refused(key, f"it has {count} {what}, 2 to {most} are possible")
    return kind


def _refused(key: str, reason: str) -> UsageError:
    return UsageError(
        f"The index key {key!r} cannot be used: {reason}.",
        mend=f"Give a key such as {_EXAMPLES}, or none and let the plan choose.",
    )
