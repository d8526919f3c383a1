"""Weights aligned in the file, and graphs that leave them there; onnx itself is the oracle."""

import mmap
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.bundle import Bundle
from deploy.onnx.weights import ALIGNMENT, LEAST, aligned, without_weights
from toolkit.caffe.wire import WireError


def model_with(sizes: list[int], pad: str = "") -> onnx.ModelProto:
    """float32 weights of so many numbers; `pad` moves all of them about."""
    tensors = [
        numpy_helper.from_array(np.random.default_rng(i).random(size, np.float32), f"w{i}")
        for i, size in enumerate(sizes)
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(nodes, f"g{pad}", [value], [result], tensors)
    return helper.make_model(graph, producer_name="p")


def offsets(content: bytes, model: onnx.ModelProto) -> list[int]:
    """Where the bytes of each large weight are found by looking for them."""
    large = [t.raw_data for t in model.graph.initializer if len(t.raw_data) >= LEAST]
    assert all(content.count(raw) == 1 for raw in large)
    return [content.find(raw) for raw in large]


def without_blanks(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        assert tensor.doc_string.strip(" ") == ""
        tensor.ClearField("doc_string")
    return model


@pytest.mark.parametrize("pad", range(0, 70, 3))
def test_each_large_weight_is_aligned_and_nothing_else_changes(pad: int) -> None:
    model = model_with([300, 5, 4000, 257, 70_000], "g" * pad)
    found = aligned(model.SerializeToString())
    again = onnx.load_from_string(found)
    assert [offset % ALIGNMENT for offset in offsets(found, model)] == [0, 0, 0, 0]
    assert without_blanks(again) == model
    assert aligned(found) == found


def test_where_the_length_of_the_graph_takes_another_byte() -> None:
    """Near 2**14 the padding itself makes the length in front of the graph longer."""
    widths = set()
    for size in range(4040, 4100):
        model = model_with([size])
        widths.add(len(model.graph.SerializeToString()) >= 1 << 14)
        found = aligned(model.SerializeToString())
        assert offsets(found, model)[0] % ALIGNMENT == 0
        assert without_blanks(onnx.load_from_string(found)) == model
    assert widths == {True, False}


@pytest.mark.parametrize("sizes", [[], [3], [LEAST // 4 - 1]], ids=["none", "tiny", "just below"])
def test_small_weights_stay_as_they_are(sizes: list[int]) -> None:
    content = model_with(sizes).SerializeToString()
    assert aligned(content) == content
    graph = without_weights(memoryview(content), "model.onnx")
    assert graph is not None
    assert onnx.load_from_string(graph) == onnx.load_from_string(content)


def test_the_graph_without_weights_names_where_they_lie(tmp_path: Path) -> None:
    """onnx reads the weights from the parts of the file that the graph names."""
    model = model_with([300, 5, 4000])
    content = aligned(model.SerializeToString())
    (tmp_path / "model.onnx").write_bytes(content)
    graph = without_weights(memoryview(content), "model.onnx")
    assert graph is not None
    assert len(graph) < 600
    (tmp_path / "graph.onnx").write_bytes(graph)
    read = onnx.load(tmp_path / "graph.onnx")
    for tensor in read.graph.initializer:
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    assert read == model


def test_weights_that_are_not_aligned_cannot_be_left() -> None:
    contents = [model_with([300], "g" * pad).SerializeToString() for pad in range(3)]
    graphs = [without_weights(memoryview(content), "model.onnx") for content in contents]
    assert graphs.count(None) >= 2  # at most one of three neighbouring places is aligned


@pytest.mark.parametrize("cut", [1, 700, 1300])
def test_a_truncated_model_is_an_error(cut: int) -> None:
    content = aligned(model_with([300, 300]).SerializeToString())
    with pytest.raises(WireError):
        aligned(content[:-cut])
    with pytest.raises(WireError):
        without_weights(memoryview(content)[:-cut], "model.onnx")


def test_a_bundle_has_its_weights_aligned(bundle: Bundle) -> None:
    content = bundle.onnx.read_bytes()
    model = onnx.load_from_string(content)
    assert [offset % ALIGNMENT for offset in offsets(content, model)]
    assert not any(offset % ALIGNMENT for offset in offsets(content, model))


def test_a_mapped_file_can_be_closed_again(bundle: Bundle) -> None:
    with bundle.onnx.open("rb") as stream:
        whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        held = sys.getrefcount(whole)
        assert without_weights(memoryview(whole), "model.onnx") is not None
        assert sys.getrefcount(whole) == held
        whole.close()  # raises BufferError where a part of it is still held
