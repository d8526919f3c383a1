"""Triton's own definition of a model's configuration, from its client's package."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from deploy.bundle import Bundle
from deploy.tensorrt.files import write_engine
from deploy.tensorrt.key import EngineKey
from deploy.tensorrt.settings import Profile


@pytest.fixture(scope="session")
def triton() -> ModuleType:
    """tritonclient's model_config_pb2, loaded by its file: its package wants grpc."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.origin is None:
        pytest.skip("tritonclient is not installed (make setup brings it)")
    path = Path(package.origin).parent / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def parse(triton: ModuleType) -> Callable[[Path], Any]:
    """config.pbtxt as Triton's ModelConfig, by protobuf's own parser, which knows no mercy."""
    from google.protobuf import text_format

    return lambda path: text_format.Parse(path.read_text(), triton.ModelConfig())


class PutEngine(Protocol):
    """Puts the stand-in of an engine into a bundle; returns its plan file."""

    def __call__(
        self, bundle: Bundle, sm: str = ..., profile: Sequence[int] = ..., **changes: Any
    ) -> Path: ...


@pytest.fixture(scope="session")
def put_engine() -> PutEngine:
    return _put_engine


def _put_engine(
    bundle: Bundle,
    sm: str = "sm90",
    profile: Sequence[int] = (1, 32, 128),
    **changes: Any,
) -> Path:
    """Stands in for an engine: some bytes, and the JSON that vr writes beside a plan."""
    batches = tuple(profile)
    key = EngineKey(
        onnx_sha256=changes.get("onnx_sha256", bundle.onnx_sha256),
        target=changes.get("target", "tensorrt"),
        version=changes.get("version", "11.4.0"),
        cuda="13",
        sm=sm,
        gpu=changes.get("gpu", f"GPU of {sm}"),
        precision="fp32",
        profile=Profile(*batches),
        workspace_bytes=None,
    )
    content = f"plan of {sm} {key.version} {batches}".encode()
    return write_engine(bundle.engines / f"{key.stem}.plan", key, content, {}).path
