"""int8: near the network it was, in integers where a runtime can, the same bytes each time."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from deploy.precision import Calibration, Converted, convert
from deploy.precision.int8 import compare_embeddings
from deploy.precision.qdq import plan_int8, pool_first, quantize_channels, scale_of
from deploy.precision.thresholds import METHODS
from toolkit.errors import InputError, MismatchError

Models = Callable[[str], onnx.ModelProto]
Runner = Callable[..., NDArray[np.float32]]
Maker = Callable[..., Any]
LAYERS = {"small": 12, "alexnet": 6, "resnet18": 20}  # in int8: all but the last


@pytest.fixture(scope="module")
def made_of(model_of: Models, calibration_of: Callable[[str], Calibration]) -> Maker:
    from functools import cache

    return cache(lambda name: convert(model_of(name), "int8", calibration_of(name)))


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_embeddings_of_new_pictures_stay_near(
    name: str, made_of: Maker, model_of: Models, pictures: Maker, run_onnx: Runner
) -> None:
    made: Converted = made_of(name)
    onnx.checker.check_model(made.model, full_check=True)
    size = made.model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    images = pictures(20, size, seed=9)
    found, wanted = run_onnx(made.model, images), run_onnx(model_of(name), images)
    assert found.dtype == np.float32
    assert (found * wanted).sum(axis=1).min() > 0.99
    assert len(made.note["int8"]) == LAYERS[name]


def test_numpy_computes_the_same_from_the_graph(
    made_of: Maker, pictures: Maker, run_onnx: Runner
) -> None:
    model, images = made_of("small").model, pictures(2, 32, seed=8)
    by_numpy = ReferenceEvaluator(model).run(None, {"images": images})[0]
    np.testing.assert_allclose(by_numpy, run_onnx(model, images, plain=True), atol=2e-3)
    assert (by_numpy * run_onnx(model, images)).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_onnx_runtime_runs_every_such_layer_in_integers(
    name: str, made_of: Maker, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(
        made_of(name).model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = Counter(n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert kinds["Conv"] + kinds["FusedConv"] == 0
    assert kinds["QLinearConv"] + kinds["QGemm"] == LAYERS[name]
    assert kinds["QLinearAdd"] == {"small": 4, "alexnet": 0, "resnet18": 8}[name]


def test_what_tensorrt_demands(made_of: Maker) -> None:
    """int8 alone, zero points of zero, a scale a channel for weights, biases in float32."""
    graph = made_of("alexnet").model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    linear = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(linear) > 20
    for node in linear:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert (constants[node.input[1]] > 0).all()
    dequantized = {n.output[0]: n for n in linear if n.op_type == "DequantizeLinear"}
    for node in graph.node:
        if node.op_type == "Conv":
            weight = dequantized[node.input[1]]
            assert constants[weight.input[1]].shape == (constants[weight.input[0]].shape[0],)
            assert all(constants[b].dtype == np.float32 for b in node.input[2:])
    assert [n.op_type for n in graph.node].count("LRN") == 2


def test_signature_metadata_and_bytes(
    made_of: Maker, model_of: Models, calibration_of: Callable[[str], Calibration]
) -> None:
    first, model = made_of("small"), model_of("small")
    again = convert(model, "int8", calibration_of("small"))
    assert first.model.SerializeToString(deterministic=True) == again.model.SerializeToString(
        deterministic=True
    )
    assert first.note == again.note
    for part in ("input", "output"):
        assert getattr(first.model.graph, part) == getattr(model.graph, part)
    assert first.model.metadata_props == model.metadata_props
    assert len(first.model.SerializeToString()) < 0.4 * len(model.SerializeToString())


def test_note_tells_the_method_its_rivals_and_the_patches(
    made_of: Maker, calibration_of: Callable[[str], Calibration]
) -> None:
    note = made_of("small").note
    scores = note["candidates"]
    assert set(scores) == set(METHODS) >= {"entropy", "percentile 99.99"}
    chosen = scores[note["method"]]
    for score in scores.values():
        lead = round(100 * chosen["topk_overlap"]) - round(100 * score["topk_overlap"])
        assert lead > 0 or (lead == 0 and chosen["cosine_mean"] >= score["cosine_mean"])
    assert note["calibration"] == {"sha256": calibration_of("small").sha256, "patches": 48}


def test_nothing_is_written(
    model_of: Models,
    calibration_of: Callable[[str], Calibration],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    convert(model_of("small"), "int8", calibration_of("small"))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_pool_before_relu_is_the_same_to_the_bit(
    model_of: Models, pictures: Maker, run_onnx: Runner
) -> None:
    model, images = model_of("alexnet"), pictures(3, 67)
    swapped = pool_first(model)
    kinds = [node.op_type for node in swapped.graph.node]
    assert all(kinds[i + 1] != "MaxPool" for i, kind in enumerate(kinds) if kind == "Relu")
    np.testing.assert_array_equal(
        run_onnx(swapped, images, plain=True), run_onnx(model, images, plain=True)
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_weights_are_rounded_to_the_nearest_step(axis: int) -> None:
    weight = np.random.default_rng(axis).normal(0, 1, (3, 4, 5)).astype(np.float32)
    steps, scales = quantize_channels(weight, axis, np.zeros(weight.shape[axis]))
    for place, scale in enumerate(scales):
        channel = weight.take(place, axis).reshape(-1)
        assert scale == pytest.approx(max(abs(float(w)) for w in channel) / 127)
        wanted = [round(float(w) / float(scale)) for w in channel]
        np.testing.assert_array_equal(steps.take(place, axis).reshape(-1), wanted)


def test_weights_of_zero_keep_a_scale_above_zero() -> None:
    steps, scales = quantize_channels(np.zeros((2, 3), np.float32), 0, np.zeros(2))
    assert not steps.any()
    assert (scales > 0).all()


@pytest.mark.parametrize("peak", [1e-3, 1.0, 77.7, 1e6])
def test_scale_reaches_to_the_peak_and_hardly_further(peak: float) -> None:
    assert peak <= 127 * scale_of(peak) <= peak * 1.001
    assert np.float32(scale_of(peak)) == scale_of(peak)
    assert scale_of(peak * (1 - 1e-9)) == scale_of(peak)


@pytest.mark.parametrize("peak", [0.0, 1e-44])
def test_scale_of_nothing_is_one(peak: float) -> None:
    assert scale_of(peak) == 1


def conv_graph(graph_of: Maker, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["picture"]),
        helper.make_node("Conv", ["picture", "w", "b"], ["conv"], kernel_shape=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Reshape", ["relu", "rows"], ["features"]),
        helper.make_node("Gemm", ["features", "last"], ["y"]),
    ]
    shapes = {"shape": np.array([-1, 3, 2, 2]), "rows": np.array([-1, 4])}
    return graph_of(nodes, {**shapes, "w": weight, "b": bias, "last": np.eye(4, dtype=np.float32)})


def test_a_channel_of_next_to_no_weights_keeps_its_bias(graph_of: Maker, run_onnx: Runner) -> None:
    """Its own scale alone would take the bias past the 32 bits that ONNX Runtime has for it."""
    weight = np.random.default_rng(1).normal(0, 0.1, (4, 3, 2, 2)).astype(np.float32)
    weight[2] *= 1e-12
    bias = np.array([0.5, -0.5, 30.0, 0], np.float32)
    model = conv_graph(graph_of, weight, bias)
    images = np.random.default_rng(2).integers(0, 256, (40, 2, 2, 3), dtype=np.uint8)
    made = convert(model, "int8", Calibration.of(images)).model
    found, wanted = run_onnx(made, images), run_onnx(model, images)
    np.testing.assert_allclose(found[:, 2], 30.0, atol=0.5)
    assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()


def test_a_value_for_several_layers_has_a_pair_for_each(made_of: Maker) -> None:
    """With scales that differ, but by less than anything is rounded to."""
    graph = made_of("resnet18").model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    pairs: dict[str, list[float]] = {}
    users = Counter(value for node in graph.node for value in node.input)
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            pairs.setdefault(node.input[0], []).append(float(constants[node.input[1]]))
            assert users[node.output[0]] == 1
    several = [scales for scales in pairs.values() if len(scales) > 1]
    assert len(several) == 8
    for scales in several:
        assert len(set(scales)) == len(scales)
        assert max(scales) / min(scales) - 1 < 1e-6


def test_a_residual_sum_of_floats_stays_in_float(graph_of: Maker) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["one"]),
        helper.make_node("Add", ["one", "x"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["soft"]),
        helper.make_node("Gemm", ["soft", "b"], ["y"]),
    ]
    constants = {"a": np.eye(12, dtype=np.float32), "b": np.eye(12, 4, dtype=np.float32)}
    plan = plan_int8(graph_of(nodes, constants))
    assert set(plan.values) == {"x", "one", "sum"}  # x and one are in int8, and so their sum
    nodes[1].input[1] = "floats12"
    nodes.insert(1, helper.make_node("Exp", ["x"], ["floats12"]))
    assert set(plan_int8(graph_of(nodes, constants)).values) == {"x", "one"}


def test_too_few_patches_are_refused(model_of: Models, pictures: Maker) -> None:
    with pytest.raises(InputError, match="32 patches at least"):
        convert(model_of("small"), "int8", Calibration.of(pictures(31, 32)))


def test_a_network_of_one_layer_cannot_be_quantised(graph_of: Maker) -> None:
    model = graph_of(
        [helper.make_node("Gemm", ["x", "w"], ["y"])], {"w": np.ones((12, 4), np.float32)}
    )
    images = np.ones((32, 2, 2, 3), np.uint8)
    with pytest.raises(MismatchError, match="no layer"):
        convert(model, "int8", Calibration.of(images))


def test_int8_without_patches_is_a_bug() -> None:
    with pytest.raises(ValueError, match="needs patches"):
        convert(onnx.ModelProto(), "int8")


def test_scores_against_loops() -> None:
    random = np.random.default_rng(7)
    wanted = random.normal(0, 1, (25, 6)).astype(np.float32)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = wanted + random.normal(0, 0.2, wanted.shape).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)

    def nearest(rows: NDArray[np.float32], own: int) -> set[int]:
        others = [i for i in range(len(rows)) if i != own]
        return set(sorted(others, key=lambda i: -float(rows[own] @ rows[i]))[:10])

    score = compare_embeddings(wanted, found)
    shared = [len(nearest(wanted, i) & nearest(found, i)) / 10 for i in range(25)]
    cosines = [float(a @ b) for a, b in zip(wanted, found, strict=True)]
    assert score.topk_overlap == pytest.approx(sum(shared) / 25)
    assert score.cosine_min == pytest.approx(min(cosines), abs=1e-6)
    assert score.cosine_mean == pytest.approx(sum(cosines) / 25, abs=1e-6)
    assert compare_embeddings(wanted, wanted).topk_overlap == 1


def test_a_network_of_transformers(
    tmp_path: Path, make_model: Maker, pictures: Maker, run_onnx: Runner
) -> None:
    import transformers

    config = transformers.CONFIG_MAPPING["dinov2"](
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=16,
    )  # fmt: skip
    config.save_pretrained(tmp_path / "tiny")
    model = make_model(f"hf:{tmp_path / 'tiny'}", 32)
    images = pictures(40, 32)
    wanted = run_onnx(model, images)
    for precision, least in (("fp16", 0.9999), ("int8", 0.98)):
        made = convert(model, precision, Calibration.of(images))
        onnx.checker.check_model(made.model, full_check=True)
        assert (run_onnx(made.model, images) * wanted).sum(axis=1).min() > least
    types = {t.data_type for t in made.model.graph.initializer if "weight.int8" in t.name}
    assert types == {TensorProto.INT8}
