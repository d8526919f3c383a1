"""A stand-in of TensorRT's builder, and a cache folder of the test's own.

The stand-in records what it is asked and builds nothing: names and signatures are those of
TensorRT 10 and 11. No GPU runs in the tests that use it; test_rtx_engines.py builds for real.
"""

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import deploy.tensorrt.fit
import deploy.tensorrt.machine
from toolkit.machine.cuda import Gpu

H200 = Gpu("NVIDIA H200", "sm90", "13.2")


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture
def timings(cache_home: Path) -> Path:
    """Where the timing cache of the stand-in on an H200 lies."""
    return cache_home / "vr" / "tensorrt" / "tensorrt-11.4.0-sm90-nvidia-h200-cuda13.timing"


@pytest.fixture
def h200() -> Gpu:
    return H200


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """The GPUs that the machine is made to show; none at first."""
    shown: list[Gpu] = []
    for module in (deploy.tensorrt.machine, deploy.tensorrt.fit):
        monkeypatch.setattr(module, "list_gpus", lambda: shown)
    return shown


class DataType(Enum):
    FLOAT, HALF, INT8, UINT8, INT64 = range(5)


LayerType = Enum(
    "LayerType",
    "CONVOLUTION DECONVOLUTION MATRIX_MULTIPLY EINSUM SHUFFLE IDENTITY SQUEEZE UNSQUEEZE CAST "
    "DEQUANTIZE QUANTIZE CONSTANT ACTIVATION LRN",
)


def tensor(name: str, dtype: DataType, *shape: int) -> Any:
    return SimpleNamespace(name=name, dtype=dtype, shape=shape)


class Layer:
    def __init__(self, kind: str, inputs: list[Any], output: Any) -> None:
        self.type, self.inputs, self.output = LayerType[kind], inputs, output
        self.num_inputs, self.num_outputs = len(inputs), 1

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    def get_output(self, index: int) -> Any:
        assert index == 0
        return self.output


class Network:
    def __init__(self, layers: list[Layer], batch: int = -1) -> None:
        self.layers, self.num_layers = layers, len(layers)
        self.images = tensor("images", DataType.UINT8, batch, 32, 32, 3)
        self.embeddings = tensor("embeddings", DataType.FLOAT, batch, 24)
        self.num_inputs = self.num_outputs = 1

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]

    def get_input(self, index: int) -> Any:
        assert index == 0
        return self.images

    def get_output(self, index: int) -> Any:
        assert index == 0
        return self.embeddings


def plain_network(dtype: DataType = DataType.FLOAT, batch: int = -1) -> Network:
    """Two layers that multiply and one that does not."""
    a, b, c, d = (tensor(name, dtype) for name in "abcd")
    layers = [
        Layer("CONVOLUTION", [a], b),
        Layer("ACTIVATION", [b], c),
        Layer("MATRIX_MULTIPLY", [c, tensor("w", dtype)], d),
    ]
    return Network(layers, batch)


def information(*types: str) -> str:
    """What an engine inspector says of an engine with one layer of each of these types."""
    layers = [
        {
            "Name": f"layer {index}",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "in", "Format/Datatype": kind}],
            "Outputs": [{"Name": "out", "Format/Datatype": kind}],
        }
        for index, kind in enumerate(types)
    ]
    return json.dumps({"Layers": layers, "Bindings": ["images", "embeddings"]})


class FakeTrt(ModuleType):
    """Down to what is recorded: what a build asks for, without a build."""

    def __init__(self) -> None:
        super().__init__("tensorrt")
        self.__version__ = "11.4.0"
        self.calls: list[tuple[Any, ...]] = []
        self.accepts_cache: Callable[[bytes], bool] = lambda content: True
        self.starts, self.parses, self.builds, self.loads = True, True, True, True
        self.network = plain_network()
        self.information = information("Row major linear FP32")
        self.while_building: Callable[[], None] = lambda: None
        self.DataType, self.LayerType = DataType, LayerType
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        self.BuilderFlag = SimpleNamespace(TF32="TF32")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
        self.ProfilingVerbosity = SimpleNamespace(DETAILED="DETAILED")
        self.LayerInformationFormat = SimpleNamespace(JSON="JSON")
        self.ILogger = _Logger
        self.Builder = lambda logger: _Builder(self, logger)
        self.OnnxParser = lambda network, logger: _Parser(self)
        self.Runtime = lambda logger: _Runtime(self, logger)

    @property
    def builds_done(self) -> int:
        return self.calls.count(("build",))


class _Logger:
    INTERNAL_ERROR, ERROR, WARNING = "internal", "error", "warning"


class _Cache:
    """A timing cache that is the set of the words in it."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def combine(self, other: "_Cache", ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.content = b" ".join(sorted({*self.content.split(), *other.content.split()}))
        return True

    def serialize(self) -> bytes:
        return self.content


class _Config:
    def __init__(self, trt: FakeTrt) -> None:
        self.trt, self.cache = trt, _Cache(b"")
        self.profiling_verbosity = ""

    def create_timing_cache(self, content: bytes) -> _Cache | None:
        return None if content == b"no cache at all" else _Cache(content)

    def set_timing_cache(self, cache: _Cache, ignore_mismatch: bool) -> bool:
        self.trt.calls.append(("cache", cache.content, ignore_mismatch))
        if not self.trt.accepts_cache(cache.content):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> _Cache:
        return self.cache

    def add_optimization_profile(self, profile: Any) -> int:
        self.trt.calls.append(("profile added",))
        return 0

    def clear_flag(self, flag: str) -> None:
        self.trt.calls.append(("clear", flag))

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.trt.calls.append(("limit", pool, size))


class _Builder:
    def __init__(self, trt: FakeTrt, logger: Any) -> None:
        self.trt, self.logger = trt, logger
        if not trt.starts:
            logger.log(_Logger.ERROR, "CUDA error 35")
            raise TypeError("factory function returned nullptr")

    def create_network(self, flags: int) -> Network:
        self.trt.calls.append(("network", flags))
        return self.trt.network

    def create_builder_config(self) -> _Config:
        return _Config(self.trt)

    def create_optimization_profile(self) -> Any:
        def set_shape(name: str, *shapes: tuple[int, ...]) -> None:
            self.trt.calls.append(("shape", name, *shapes))

        return SimpleNamespace(set_shape=set_shape)

    def build_serialized_network(self, network: Network, config: _Config) -> bytes | None:
        self.trt.calls.append(("build",))
        self.trt.calls.append(("verbosity", config.profiling_verbosity))
        config.cache.combine(_Cache(f"build{self.trt.builds_done}".encode()), False)
        self.trt.while_building()
        self.logger.log(_Logger.WARNING, "only a warning")
        self.logger.log(_Logger.ERROR, "out of memory")
        return b"a plan" if self.trt.builds else None


class _Parser:
    num_errors = 1

    def __init__(self, trt: FakeTrt) -> None:
        self.trt = trt

    def parse_from_file(self, path: str) -> bool:
        self.trt.calls.append(("parse", path))
        return self.trt.parses

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: "node 3 is unknown")


class _Runtime:
    def __init__(self, trt: FakeTrt, logger: Any) -> None:
        self.trt, self.logger = trt, logger

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        self.logger.log(_Logger.ERROR, "the plan is of another world")
        return _Engine(self.trt) if self.trt.loads else None


class _Engine:
    """Only what an inspection asks of it."""

    def __init__(self, trt: FakeTrt) -> None:
        self.trt = trt

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.trt.network.images.shape

    def create_execution_context(self) -> Any:
        def set_input_shape(name: str, shape: tuple[int, ...]) -> bool:
            self.trt.calls.append(("inspected at", name, shape))
            return True

        return SimpleNamespace(set_input_shape=set_input_shape)

    def create_engine_inspector(self) -> Any:
        inspector = SimpleNamespace(execution_context=None)

        def tell(kind: str) -> str:
            # Without a context, TensorRT says that types are not known.
            assert (kind, inspector.execution_context is None) == ("JSON", False)
            return self.trt.information

        inspector.get_engine_information = tell
        return inspector


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, gpus: list[Gpu]) -> FakeTrt:
    """The stand-in on a machine with an H200."""
    fake = FakeTrt()
    gpus.append(H200)
    for module in (deploy.tensorrt.machine, deploy.tensorrt.fit):
        monkeypatch.setattr(module, "require", lambda name: fake)
    monkeypatch.setattr(deploy.tensorrt.machine, "cuda_of", lambda target: "13")
    return fake


@pytest.fixture
def fakes() -> Any:
    """The pieces that networks and inspections of the stand-in are put together from."""
    return SimpleNamespace(
        DataType=DataType,
        Layer=Layer,
        Network=Network,
        tensor=tensor,
        plain_network=plain_network,
        information=information,
    )
