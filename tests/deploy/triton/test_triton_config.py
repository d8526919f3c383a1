"""config.pbtxt against Triton's protobuf definition and the rules of its model loader."""

import string
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploy.triton.config import (
    Served,
    TritonSettings,
    Versions,
    config_text,
    versions_block,
    with_versions,
)
from toolkit.errors import UsageError

ONE = Versions({1: "ab" * 32}, {1: "fp32"}, {})
SERVED = Served("vr_embedder", "onnxruntime", (32, 48), 24, None, 32)
PLAN = Served("vr_embedder_trt", "tensorrt", (32, 48), 24, None, 64, (16, 64))
FIXED = Served("vr_embedder", "onnxruntime", (32, 48), 24, 8, 32)

CASES = {
    "onnx": (SERVED, TritonSettings()),
    "one at a time": (Served("m", "onnxruntime", (32, 48), 24, None, 1), TritonSettings()),
    "plan": (PLAN, TritonSettings(instances=2)),
    "fixed batch": (FIXED, TritonSettings(device="cpu", threads=3)),
    "fixed batch of one": (Served("m", "tensorrt", (32, 48), 24, 1, 1), TritonSettings()),
    "several versions": (SERVED, TritonSettings(device="gpu", versions=3, queue_delay_us=0)),
}


@pytest.fixture
def parsed(tmp_path: Path, parse: Callable[[Path], Any]) -> Callable[..., Any]:
    def read(served: Served, settings: TritonSettings, versions: Versions = ONE) -> Any:
        path = tmp_path / "config.pbtxt"
        path.write_text(config_text(served, settings, versions))
        return parse(path)

    return read


def check_rules(config: Any, triton: ModuleType) -> None:
    """What Triton's loader refuses although protobuf takes it (its ValidateModelConfig)."""
    pairs = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
    assert pairs[config.backend] == config.platform
    assert config.max_batch_size >= 0
    for tensor in (*config.input, *config.output):
        assert tensor.name
        assert tensor.data_type != triton.TYPE_INVALID
        assert len(tensor.dims) >= 1
        assert all(size == -1 or size >= 1 for size in tensor.dims)
    if config.HasField("dynamic_batching"):
        assert config.max_batch_size > 0
        for size in config.dynamic_batching.preferred_batch_size:
            assert 0 < size <= config.max_batch_size
    for group in config.instance_group:
        assert group.count >= 1
        assert group.kind != group.KIND_CPU or not group.gpus
        assert group.kind != group.KIND_CPU or config.backend != "tensorrt"
    inputs = {tensor.name: tensor for tensor in config.input}
    for request in config.model_warmup:
        assert 1 <= request.batch_size <= max(config.max_batch_size, 1)
        assert request.inputs.keys() == inputs.keys()
        for name, value in request.inputs.items():
            assert value.data_type == inputs[name].data_type
            assert list(value.dims) == list(inputs[name].dims)
            assert value.WhichOneof("input_data_type") == "zero_data"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_triton_takes_it(case: str, parsed: Callable[..., Any], triton: ModuleType) -> None:
    check_rules(parsed(*CASES[case]), triton)


def test_what_a_model_takes_and_gives(parsed: Callable[..., Any], triton: ModuleType) -> None:
    config = parsed(*CASES["onnx"])
    [images], [embeddings] = config.input, config.output
    assert (config.name, config.max_batch_size) == ("vr_embedder", 32)
    assert (images.name, images.data_type) == ("images", triton.TYPE_UINT8)
    assert list(images.dims) == [32, 48, 3]
    assert (embeddings.name, embeddings.data_type) == ("embeddings", triton.TYPE_FP32)
    assert list(embeddings.dims) == [24]
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000
    assert not config.dynamic_batching.preferred_batch_size
    assert config.version_policy.latest.num_versions == 1
    assert [group.kind for group in config.instance_group] == [triton.ModelInstanceGroup.KIND_AUTO]
    assert [request.batch_size for request in config.model_warmup] == [1, 32]


def test_a_plan_prefers_the_batches_it_was_built_for(
    parsed: Callable[..., Any], triton: ModuleType
) -> None:
    config = parsed(*CASES["plan"])
    assert list(config.dynamic_batching.preferred_batch_size) == [16, 64]
    [group] = config.instance_group
    assert (group.count, group.kind) == (2, group.KIND_GPU)


def test_a_fixed_batch_is_one_of_the_dims(parsed: Callable[..., Any]) -> None:
    config = parsed(*CASES["fixed batch"])
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [8, 32, 48, 3]
    assert list(config.output[0].dims) == [8, 24]
    assert not config.HasField("dynamic_batching")
    assert config.parameters["intra_op_thread_count"].string_value == "3"


def test_no_fixed_threads_for_an_engine(parsed: Callable[..., Any]) -> None:
    assert "intra_op_thread_count" not in parsed(PLAN, TritonSettings(threads=3)).parameters


def test_a_client_can_ask_for_the_fingerprint_of_each_version(parsed: Callable[..., Any]) -> None:
    versions = Versions(
        {1: "one", 2: "two"},
        {1: "fp32", 2: "int8"},
        {"8.0": "model_sm80.plan", "12.0": "model_sm120.plan"},
    )
    config = parsed(SERVED, TritonSettings(), versions)
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "vr_fingerprint_1": "one",
        "vr_fingerprint_2": "two",
        "vr_precision_1": "fp32",
        "vr_precision_2": "int8",
    }
    assert dict(config.cc_model_filenames) == dict(versions.files)


def test_odd_text_is_quoted(parsed: Callable[..., Any]) -> None:
    odd = string.printable + "é € 𝄞 \\n \" ' \x00"
    config = parsed(SERVED, TritonSettings(), Versions({1: odd}, {1: "fp32"}, {}))
    assert config.parameters["vr_fingerprint_1"].string_value == odd


def test_what_was_edited_stays_and_the_block_is_renewed() -> None:
    old = config_text(SERVED, TritonSettings(), ONE)
    edited = old.replace("count: 1", "count: 7") + "# mine\n"
    two = Versions({1: "a", 2: "b"}, {1: "fp32", 2: "fp16"}, {})
    new = with_versions(edited, two)
    assert new == edited.replace(versions_block(ONE), versions_block(two))
    assert "count: 7" in new
    assert new.endswith("# end\n# mine\n")
    assert with_versions(new, two) == new


def test_a_block_that_was_taken_out_does_not_come_back() -> None:
    text = 'name: "mine"\n'
    assert with_versions(text, ONE) == text


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "x" * 129, "ä", "a\n"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        TritonSettings(name=name)


@pytest.mark.parametrize("setting", ["max_batch", "instances", "threads", "versions"])
def test_none_of_something_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        TritonSettings(**{setting: 0})


def test_a_negative_wait_is_refused() -> None:
    with pytest.raises(UsageError, match="microseconds"):
        TritonSettings(queue_delay_us=-1)
