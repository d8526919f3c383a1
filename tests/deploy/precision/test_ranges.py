"""Ranges against what the graph shows when it is asked for everything at once."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from deploy.precision.ranges import Probe, measure_histograms, measure_peaks
from deploy.precision.thresholds import BINS
from toolkit.errors import InputError

WEIGHT = np.random.default_rng(0).normal(0, 0.1, (12, 4)).astype(np.float32)


@pytest.fixture
def gemm(graph_of: Callable[..., onnx.ModelProto]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["raw"]),
        helper.make_node("Relu", ["raw"], ["y"]),
    ]
    return graph_of(nodes, {"w": WEIGHT})


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 8, 19])
def test_histograms_count_what_numpy_counts(gemm: onnx.ModelProto, count: int) -> None:
    taken = images(count)
    found = measure_histograms(gemm, ["raw", "y"], taken)
    raw = np.abs(taken.reshape(count, 12).astype(np.float32) @ WEIGHT)
    wanted, _ = np.histogram(raw, BINS, (0, found["raw"].peak))
    assert found["raw"].peak == pytest.approx(raw.max(), rel=1e-6)
    assert found["raw"].counts.sum() == 4 * count
    assert np.abs(found["raw"].counts.cumsum() - wanted.cumsum()).max() <= 1  # at an edge
    assert found["y"].counts[0] >= (taken.reshape(count, 12) @ WEIGHT.astype(float) <= 0).sum()


def test_a_graph_for_one_batch_takes_any_number(
    graph_of: Callable[..., onnx.ModelProto],
) -> None:
    fixed = graph_of([helper.make_node("Gemm", ["x", "w"], ["y"])], {"w": WEIGHT}, batch=4)
    taken = images(6)
    evaluator = ReferenceEvaluator(fixed)
    wanted = [evaluator.run(None, {"images": taken[k : k + 4]})[0] for k in (0, 2)]
    found = Probe(fixed).embed(taken)
    np.testing.assert_allclose(found, np.concatenate([wanted[0], wanted[1][2:]]), rtol=1e-5)


def test_progress_is_told_up_to_the_end(gemm: onnx.ModelProto) -> None:
    told: list[tuple[int, int]] = []
    measure_histograms(gemm, ["y"], images(19), lambda *state: told.append(state))
    assert told == [(8, 19), (16, 19), (19, 19)]


def test_numbers_that_are_none_are_infinite_or_refused(
    graph_of: Callable[..., onnx.ModelProto],
) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["raw"]),
        helper.make_node("Log", ["raw"], ["y"]),
    ]
    broken = graph_of(nodes, {"w": -np.abs(WEIGHT)})
    assert measure_peaks(broken, ["y"], images(3))["y"] == np.inf
    with pytest.raises(InputError, match="not finite at y"):
        measure_histograms(broken, ["raw", "y"], images(3))
