import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import deploy.tensorrt
from deploy.bundle import Bundle, read_bundle
from deploy.cuda import Gpu
from deploy.plan import PlanRequest, Profile, build_plan
from deploy.tensorrt import EngineSettings, build_engines
from toolkit.errors import MismatchError, MissingError, UsageError, VrError

RTX = EngineSettings(target="tensorrt_rtx")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """The GPUs that the machine is made to show."""
    shown: list[Gpu] = []
    monkeypatch.setattr(deploy.tensorrt, "list_gpus", lambda: shown)
    return shown


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.skipif(has("tensorrt"), reason="tensorrt is installed here")
def test_without_gpu_and_package_both_are_named_and_the_bundle_stays(
    own_bundle: Path, gpus: list[Gpu]
) -> None:
    before = files(own_bundle)
    with pytest.raises(MissingError, match=r"package tensorrt.*needs an NVIDIA GPU") as caught:
        build_engines(read_bundle(own_bundle))
    assert caught.value.exit_code == 6
    assert "vr-toolkit[trt]" in caught.value.mend
    assert str(own_bundle) in caught.value.mend
    assert files(own_bundle) == before


@pytest.mark.skipif(has("tensorrt"), reason="tensorrt is installed here")
def test_without_the_package_only_the_package_is_named(bundle: Bundle, gpus: list[Gpu]) -> None:
    gpus.append(Gpu("NVIDIA H200", "sm90", "13.2"))
    with pytest.raises(MissingError, match="package tensorrt") as caught:
        build_engines(bundle)
    assert "shows none" not in caught.value.problem


def test_without_a_gpu_only_the_gpu_is_named(
    bundle: Bundle, gpus: list[Gpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy.tensorrt, "require", lambda name: ModuleType(name))
    with pytest.raises(MissingError, match="needs an NVIDIA GPU") as caught:
        build_engines(bundle)
    assert "package" not in caught.value.problem


@pytest.mark.skipif(has("tensorrt_rtx"), reason="tensorrt_rtx is installed here")
def test_without_tensorrt_rtx_its_extra_is_named(bundle: Bundle) -> None:
    with pytest.raises(MissingError, match="package tensorrt_rtx") as caught:
        build_engines(bundle, RTX)
    assert "vr-toolkit[rtx]" in caught.value.mend


@pytest.mark.parametrize("batches", [(0, 1, 2), (1, 3, 2), (4, 3, 8)])
def test_an_impossible_profile_is_a_usage_error(batches: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="min <= opt <= max"):
        Profile(*batches)


class FakeTrt(ModuleType):
    """The builder's API down to what is recorded: what a build asks for, without a build.

    Names and signatures are those of TensorRT 10 and 11; the tests with tensorrt_rtx below
    exercise the same code against a real builder.
    """

    def __init__(self) -> None:
        super().__init__("tensorrt")
        self.__version__ = "11.4.0"
        self.calls: list[tuple[Any, ...]] = []
        self.accepts_cache = True
        self.starts, self.parses, self.builds = True, True, True
        recorder = self

        class ILogger:
            INTERNAL_ERROR, ERROR, WARNING = "internal", "error", "warning"

        class Config:
            def create_timing_cache(self, content: bytes) -> bytes:
                return content

            def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
                recorder.calls.append(("cache", cache, ignore_mismatch))
                return recorder.accepts_cache or cache == b""

            def get_timing_cache(self) -> Any:
                return type("Cache", (), {"serialize": lambda self: b"measured"})()

            def add_optimization_profile(self, profile: Any) -> int:
                return 0

            def clear_flag(self, flag: str) -> None:
                recorder.calls.append(("clear", flag))

            def set_memory_pool_limit(self, pool: str, size: int) -> None:
                recorder.calls.append(("limit", pool, size))

        class OptimizationProfile:
            def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
                recorder.calls.append(("shape", name, *shapes))

        class Builder:
            def __init__(self, logger: Any) -> None:
                self.logger = logger
                if not recorder.starts:
                    logger.log(ILogger.ERROR, "CUDA error 35")
                    raise TypeError("factory function returned nullptr")

            def create_network(self, flags: int) -> str:
                recorder.calls.append(("network", flags))
                return "network"

            def create_builder_config(self) -> Config:
                return Config()

            def create_optimization_profile(self) -> OptimizationProfile:
                return OptimizationProfile()

            def build_serialized_network(self, network: str, config: Config) -> bytes | None:
                recorder.calls.append(("build",))
                self.logger.log(ILogger.WARNING, "only a warning")
                self.logger.log(ILogger.ERROR, "out of memory")
                return b"a plan" if recorder.builds else None

        class OnnxParser:
            num_errors = 1

            def __init__(self, network: str, logger: Any) -> None:
                pass

            def parse_from_file(self, path: str) -> bool:
                recorder.calls.append(("parse", path))
                return recorder.parses

            def get_error(self, index: int) -> Any:
                return type("Error", (), {"desc": lambda self: "node 3 is unknown"})()

        self.ILogger, self.Builder, self.OnnxParser = ILogger, Builder, OnnxParser
        self.NetworkDefinitionCreationFlag = type("F", (), {"STRONGLY_TYPED": 1})
        self.BuilderFlag = type("B", (), {"TF32": "TF32"})
        self.MemoryPoolType = type("M", (), {"WORKSPACE": "WORKSPACE"})

    @property
    def builds_done(self) -> int:
        return self.calls.count(("build",))


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, gpus: list[Gpu]) -> FakeTrt:
    fake = FakeTrt()
    gpus.append(Gpu("NVIDIA H200", "sm90", "13.2"))
    monkeypatch.setattr(deploy.tensorrt, "require", lambda name: fake)
    return fake


def test_what_is_asked_of_the_builder(trt: FakeTrt, own_bundle: Path) -> None:
    settings = EngineSettings((Profile(2, 8, 16),), workspace_bytes=1 << 30)
    build_engines(read_bundle(own_bundle), settings)
    assert ("network", 2) in trt.calls  # bit 1: strongly typed
    assert ("shape", "images", (2, 32, 32, 3), (8, 32, 32, 3), (16, 32, 32, 3)) in trt.calls
    assert ("clear", "TF32") in trt.calls
    assert ("limit", "WORKSPACE", 1 << 30) in trt.calls
    assert ("parse", str(own_bundle / "model.onnx")) in trt.calls


def test_plan_and_note_lie_beside_each_other(trt: FakeTrt, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (plan,) = build_engines(bundle)
    assert plan == own_bundle / "engines" / "tensorrt-11.4.0-sm90-fp32-b1-32-128.plan"
    assert plan.read_bytes() == b"a plan"
    note = json.loads(plan.with_suffix(".json").read_text())
    assert note["onnx_sha256"] == bundle.onnx_sha256
    assert note["profile"] == {"min": 1, "opt": 32, "max": 128}
    assert [note[key] for key in ("version", "sm", "driver", "precision")] == [
        "11.4.0",
        "sm90",
        "13.2",
        "fp32",
    ]


def test_an_engine_that_fits_is_not_built_again(trt: FakeTrt, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    first = build_engines(bundle)
    assert build_engines(bundle) == first
    assert trt.builds_done == 1


@pytest.mark.parametrize("change", ["onnx", "driver", "workspace", "plan", "note", "no note"])
def test_an_engine_that_does_not_fit_is_built_again(
    change: str, trt: FakeTrt, gpus: list[Gpu], own_bundle: Path
) -> None:
    bundle, settings = read_bundle(own_bundle), EngineSettings()
    (plan,) = build_engines(bundle, settings)
    if change == "onnx":
        bundle = replace(bundle, onnx_sha256="0" * 64)
    elif change == "driver":
        gpus[0] = replace(gpus[0], driver="13.3")
    elif change == "workspace":
        settings = replace(settings, workspace_bytes=1 << 20)
    elif change == "plan":
        plan.write_bytes(b"a pl")
    elif change == "note":
        plan.with_suffix(".json").write_text("{")
    else:
        plan.with_suffix(".json").unlink()
    assert build_engines(bundle, settings) == (plan,)
    assert trt.builds_done == 2
    assert plan.read_bytes() == b"a plan"


def test_no_profile_no_engine(trt: FakeTrt, own_bundle: Path) -> None:
    assert build_engines(read_bundle(own_bundle), EngineSettings(())) == ()
    assert trt.builds_done == 0


def test_the_timing_cache_is_shared_between_builds(trt: FakeTrt, own_bundle: Path) -> None:
    build_engines(read_bundle(own_bundle), EngineSettings((Profile(), Profile(1, 1, 1))))
    caches = [call for call in trt.calls if call[0] == "cache"]
    assert caches == [("cache", b"", False), ("cache", b"measured", False)]


def test_a_timing_cache_of_another_machine_starts_anew(trt: FakeTrt, own_bundle: Path) -> None:
    (own_bundle / "engines" / "tensorrt-11.4.0-sm90.timing").write_bytes(b"foreign")
    trt.accepts_cache = False
    build_engines(read_bundle(own_bundle))
    caches = [call for call in trt.calls if call[0] == "cache"]
    assert caches == [("cache", b"foreign", False), ("cache", b"", False)]


def test_a_builder_that_cannot_start_is_missing(trt: FakeTrt, bundle: Bundle) -> None:
    trt.starts = False
    with pytest.raises(MissingError, match="CUDA error 35"):
        build_engines(bundle)


def test_what_the_parser_refuses_is_a_mismatch(trt: FakeTrt, own_bundle: Path) -> None:
    trt.parses = False
    with pytest.raises(MismatchError, match="node 3 is unknown"):
        build_engines(read_bundle(own_bundle))
    assert list((own_bundle / "engines").iterdir()) == []


def test_a_failed_build_tells_the_error_and_leaves_nothing(trt: FakeTrt, own_bundle: Path) -> None:
    trt.builds = False
    with pytest.raises(VrError, match="out of memory") as caught:
        build_engines(read_bundle(own_bundle))
    assert "warning" not in caught.value.problem
    assert list((own_bundle / "engines").iterdir()) == []


def test_tensorrt_rtx_builds_a_real_engine_and_keeps_it(own_bundle: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    bundle = read_bundle(own_bundle)
    (plan,) = build_engines(bundle, RTX)
    # A plan of strongly typed fp32 holds every weight in four bytes.
    assert plan.stat().st_size > 0.9 * bundle.onnx.stat().st_size
    written = plan.stat().st_mtime_ns
    assert build_engines(bundle, RTX) == (plan,)
    assert plan.stat().st_mtime_ns == written


def test_tensorrt_rtx_refuses_a_truncated_file(bundle: Bundle, tmp_path: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    (tmp_path / "cut.onnx").write_bytes(bundle.onnx.read_bytes()[:500])
    with pytest.raises(MismatchError, match="TensorRT cannot read"):
        build_plan(rtx, PlanRequest(tmp_path / "cut.onnx", (32, 32), Profile()))


def test_tensorrt_rtx_refuses_a_profile_of_another_size(bundle: Bundle) -> None:
    """A build that fails inside comes back as an error, not as an empty plan."""
    rtx = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(VrError, match="built no engine"):
        build_plan(rtx, PlanRequest(bundle.onnx, (48, 48), Profile()))
