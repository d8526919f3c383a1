from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import deploy.proof.parity
from deploy.proof.parity import GATES, Parity, check_pairs, compare_embeddings
from toolkit.embedding import Embedder, Embeddings
from toolkit.errors import InputError
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

DIM = 6


class TableEmbedder:
    """An embedder that looks a patch up by the number in its first two pixels."""

    runtime = "a table"
    card = ModelCard("table", DIM, Preprocessing(16, 16), "f" * 64, {})

    def __init__(self, table: NDArray[Any]) -> None:
        self.table = table.astype(np.float32)

    def embed(self, images: NDArray[np.uint8]) -> Embeddings:
        return self.table[images[:, 0, 0, 0] + 256 * images[:, 0, 0, 1].astype(int)]

    def close(self) -> None:
        pass


def numbered(start: int, count: int) -> NDArray[np.uint8]:
    images = np.zeros((count, 16, 16, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(start, start + count) % 256
    images[:, 0, 0, 1] = np.arange(start, start + count) // 256
    return images


def unit_rows(count: int, seed: int) -> NDArray[np.float64]:
    rows = np.random.default_rng(seed).normal(size=(count, DIM))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def compare(old: NDArray[Any], new: NDArray[Any], tracks: list[int] | None = None) -> Parity:
    """Tables of 2N rows: the queries, then their positives."""
    count = len(old) // 2
    reference, candidate = TableEmbedder(old), TableEmbedder(new)
    assert isinstance(reference, Embedder)
    pairs = numbered(0, count), numbered(count, count)
    own = None if tracks is None else np.array(tracks)
    check_pairs(*pairs)
    embedded = (tuple(map(one.embed, pairs)) for one in (reference, candidate))
    return compare_embeddings(*embedded, own)


def naive_parity(
    old: NDArray[np.float64], new: NDArray[np.float64], tracks: list[int] | None = None
) -> dict[str, float]:
    """Both ways: queries among positives, then positives among queries."""
    count = len(old) // 2
    own = tracks or list(range(count))
    cosines = sorted(
        float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))
        for a, b in zip(old, new, strict=True)
    )

    def ranking(table: NDArray[np.float64], i: int) -> list[int]:
        start = count if i < count else 0
        return sorted(range(count), key=lambda j: -float(np.dot(table[i], table[start + j])))

    old_ranks = [ranking(old, i) for i in range(2 * count)]
    new_ranks = [ranking(new, i) for i in range(2 * count)]
    shared = [len(set(a[:10]) & set(b[:10])) for a, b in zip(old_ranks, new_ranks, strict=True)]
    found = [
        sum(own[r[0]] == own[i % count] for i, r in enumerate(ranks))
        for ranks in (old_ranks, new_ranks)
    ]
    return {
        "cosine_min": cosines[0],
        "cosine_mean": sum(cosines) / len(cosines),
        "topk_overlap": sum(shared) / (2 * count * min(10, count)),
        "recall": found[0] / (2 * count),
        "delta_recall": (found[1] - found[0]) / (2 * count),
    }


@pytest.mark.parametrize("pairs", [2, 9, 40])
@pytest.mark.parametrize("block_rows", [7, 1024])
@pytest.mark.parametrize("size", [1, 3])
def test_measures_agree_with_a_naive_loop(
    pairs: int, block_rows: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """size: pairs of one track that follow each other."""
    monkeypatch.setattr(deploy.proof.parity, "BLOCK_ROWS", block_rows)
    old = unit_rows(2 * pairs, seed=1)
    old[pairs:] = old[:pairs] + 0.6 * old[pairs:]  # so that some queries find their positive
    old /= np.linalg.norm(old, axis=1, keepdims=True)
    new = old + 0.3 * unit_rows(2 * pairs, seed=2)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    tracks = None if size == 1 else [pair // size for pair in range(pairs)]
    found, wanted = compare(old, new, tracks), naive_parity(old, new, tracks)
    assert found.patches == 2 * pairs
    for name, value in wanted.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-6), name


def test_same_vectors_are_at_parity_with_nothing_lost() -> None:
    table = unit_rows(60, seed=3)
    parity = compare(table, table)
    assert parity.cosine_min == pytest.approx(1, abs=1e-6)
    assert (parity.topk_overlap, parity.delta_recall) == (1, 0)
    assert all(parity.passes(gate) for gate in GATES.values())


def test_empty_set_is_an_error() -> None:
    with pytest.raises(InputError, match="one pair at least"):
        compare(np.zeros((0, DIM)), np.zeros((0, DIM)))


def test_unequal_numbers_are_an_error() -> None:
    with pytest.raises(InputError, match="2 and 1"):
        check_pairs(numbered(0, 2), numbered(2, 1))


def test_one_pair_works() -> None:
    table = unit_rows(2, seed=5)
    parity = compare(table, table)
    assert (parity.patches, parity.recall, parity.topk_overlap) == (2, 1.0, 1.0)
    assert parity.passes(GATES["fp32"])


def test_ties_are_no_loss() -> None:
    """Patches that look the same have the same score: which comes first is chance."""
    old = np.tile(unit_rows(1, seed=6), (24, 1))
    new = old + 1e-8 * unit_rows(24, seed=7)
    parity = compare(old, new)
    assert (parity.delta_recall, parity.topk_overlap) == (0, 1)


def test_rounding_is_no_loss_where_everything_is_near_everything() -> None:
    """A network that has hardly learnt: scores differ by as little as they are rounded."""
    cloud = np.eye(DIM)[[0] * 400] + 2e-3 * unit_rows(400, seed=12)
    cloud /= np.linalg.norm(cloud, axis=1, keepdims=True)
    rounded = cloud + 1e-7 * unit_rows(400, seed=13)
    parity = compare(cloud, rounded)
    assert parity.delta_recall == 0
    assert parity.passes(GATES["fp32"])


def test_a_margin_that_moves_is_a_loss_however_small_it_was() -> None:
    """The positive was nearer by 2e-6, and is now farther by 2e-3."""
    old = np.array([[1.0, 0, 0], [0, 1, 0], [0.6, 0.8, 0], [0.6 - 2e-6, 0, 0.8]])
    new = old.copy()
    new[3, 0] = 0.602
    wide = np.zeros((4, DIM))
    old_wide, new_wide = wide.copy(), wide.copy()
    old_wide[:, :3], new_wide[:, :3] = old, new
    assert compare(old_wide, new_wide).delta_recall == pytest.approx(-1 / 4)


def test_another_patch_of_the_same_track_is_no_loss() -> None:
    """Pairs 0 and 1 are of one track; the candidate finds the other's positive first."""
    old = np.eye(DIM)[[0, 1, 2, 0, 1, 2]]
    new = np.eye(DIM)[[1, 0, 2, 0, 1, 2]]
    assert compare(old, new).delta_recall == pytest.approx(-2 / 3)
    assert compare(old, new, [7, 7, 4]).delta_recall == 0


def test_one_answer_weighs_half_a_pair() -> None:
    """Query 0 loses its positive; positive 0 still finds its query."""
    old = np.eye(DIM)[[0, 1, 2, 3, 0, 1, 2, 3]]
    new = old.copy()
    new[0] = 0.6 * old[0] + 0.8 * np.eye(DIM)[5]
    new[5] = 0.65 * old[1] + 0.76 * np.eye(DIM)[5]
    assert compare(old, new).delta_recall == pytest.approx(-1 / 8)


def test_a_turned_space_retrieves_the_same_and_still_fails() -> None:
    """An index of the reference would be searched with vectors of another space."""
    table = unit_rows(30, seed=8)
    turn, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(DIM, DIM)))
    parity = compare(table, table @ turn)
    assert parity.delta_recall == 0
    assert not any(parity.passes(gate) for gate in GATES.values())


def test_a_candidate_that_gives_nan_fails() -> None:
    table = unit_rows(8, seed=10)
    broken = table.copy()
    broken[3] = np.nan
    assert not any(compare(table, broken).passes(gate) for gate in GATES.values())


def test_a_candidate_that_gives_zero_fails() -> None:
    table = unit_rows(8, seed=11)
    broken = table.copy()
    broken[3] = 0
    parity = compare(table, broken)
    assert parity.cosine_min == 0
    assert not parity.passes(GATES["fp32"])


@pytest.mark.parametrize(
    ("precision", "delta", "passes"),
    [
        ("fp32", 0.002, True),
        ("fp32", -0.0021, False),
        ("fp16", -0.005, True),
        ("fp16", 0.0051, False),
        ("int8", 0.010, True),
        ("int8", -0.0101, False),
    ],
)
def test_gates_on_recall(precision: Any, delta: float, passes: bool) -> None:
    parity = replace(Parity(100, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0), delta_recall=delta)
    assert parity.passes(GATES[precision]) is passes
    assert parity.as_json(precision)["passed"] is passes


def test_gate_on_cosine_and_keys_of_the_contract() -> None:
    parity = Parity(100, 0.99989, 0.9999, 0.99999, 1.0, 0.5, 0.0)
    content = parity.as_json("fp32")
    assert content["passed"] is False
    keys = {"cosine_min", "cosine_mean", "cosine_p1", "topk_overlap", "delta_recall@1", "passed"}
    assert keys <= set(content)
    assert parity.as_json("fp16")["passed"] is True
