"""Engines that are built and run for real: TensorRT on an NVIDIA GPU."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.bundle import Bundle, read_bundle
from deploy.tensorrt import EngineSettings, Profile, build_engines

pytestmark = pytest.mark.gpu


def random_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_any_batch_gives_what_onnx_runtime_gives(own_bundle: Path) -> None:
    from deploy.runtimes.onnx import OnnxEmbedder
    from deploy.runtimes.tensorrt import TensorRtEmbedder

    bundle = read_bundle(own_bundle)
    (engine,) = build_engines(bundle, EngineSettings((Profile(2, 8, 16),)))
    assert engine.reused is False
    embedder = TensorRtEmbedder(bundle)
    reference = OnnxEmbedder(bundle, "cpu")
    for count in (0, 1, 2, 15, 16, 17, 33, 100):
        images = random_images(count)
        np.testing.assert_allclose(
            embedder.embed(images), reference.embed(images), atol=1e-4, err_msg=str(count)
        )
    embedder.close()


def test_an_engine_is_reused_and_timings_are_kept(own_bundle: Path, cache_home: Path) -> None:
    bundle = read_bundle(own_bundle)
    (first,) = build_engines(bundle)
    assert [path.suffix for path in (cache_home / "vr" / "tensorrt").iterdir()] == [".timing"]
    (second,) = build_engines(bundle)
    assert (first.reused, second.reused) == (False, True)


def test_a_truncated_plan_is_not_loaded(bundle: Bundle, own_bundle: Path) -> None:
    from deploy.tensorrt.loading import load_engine
    from toolkit.errors import MismatchError

    (engine,) = build_engines(read_bundle(own_bundle))
    trt = importlib.import_module("tensorrt")
    for content in (b"", b"no plan" * 100, engine.path.read_bytes()[:5000]):
        with pytest.raises(MismatchError, match="no engine that TensorRT"):
            load_engine(trt, content, "x.plan")
