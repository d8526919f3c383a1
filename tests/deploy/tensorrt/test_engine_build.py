"""What a build asks for, keeps and throws away: with a stand-in of TensorRT, no GPU runs."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import deploy.tensorrt.machine
from deploy.bundle import Bundle, read_bundle
from deploy.tensorrt import EngineSettings, Profile, build_engines
from toolkit.errors import (
    MismatchError,
    MissingError,
    QualityGateError,
    StorageError,
    UsageError,
    VrError,
)
from toolkit.lock import writing
from toolkit.machine.cuda import Gpu

PLAN = "tensorrt-11.4.0-sm90-nvidia-h200-fp32-b1-32-128.plan"


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def plans(folder: Path) -> list[str]:
    """Plans and their descriptions; other runtimes keep caches of their own beside them."""
    return sorted(path.name for path in (folder / "engines").glob("tensorrt*"))


@pytest.mark.skipif(has("tensorrt"), reason="tensorrt is installed here")
def test_without_gpu_and_package_both_are_named_and_the_bundle_stays(
    own_bundle: Path, gpus: list[Gpu]
) -> None:
    before = files(own_bundle)
    with pytest.raises(MissingError, match=r"needs an NVIDIA GPU.*package tensorrt") as caught:
        build_engines(read_bundle(own_bundle))
    assert caught.value.exit_code == 6
    assert "vr-toolkit[trt]" in caught.value.mend
    assert str(own_bundle) in caught.value.mend
    assert files(own_bundle) == before


@pytest.mark.skipif(has("tensorrt"), reason="tensorrt is installed here")
def test_without_the_package_only_the_package_is_named(
    bundle: Bundle, gpus: list[Gpu], h200: Gpu
) -> None:
    gpus.append(h200)
    with pytest.raises(MissingError, match="package tensorrt") as caught:
        build_engines(bundle)
    assert "shows none" not in caught.value.problem


def test_without_a_gpu_only_the_gpu_is_named(
    bundle: Bundle, gpus: list[Gpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy.tensorrt.machine, "require", lambda name: ModuleType(name))
    with pytest.raises(MissingError, match="needs an NVIDIA GPU") as caught:
        build_engines(bundle)
    assert "package" not in caught.value.problem


@pytest.mark.skipif(has("tensorrt_rtx"), reason="tensorrt_rtx is installed here")
def test_without_tensorrt_rtx_its_extra_is_named(bundle: Bundle) -> None:
    with pytest.raises(MissingError, match="package tensorrt_rtx") as caught:
        build_engines(bundle, EngineSettings(target="tensorrt_rtx"))
    assert "vr-toolkit[rtx]" in caught.value.mend


def test_what_is_asked_of_the_builder(trt: Any, own_bundle: Path) -> None:
    settings = EngineSettings((Profile(2, 8, 16),), workspace_bytes=1 << 30)
    build_engines(read_bundle(own_bundle), settings)
    assert ("network", 2) in trt.calls  # bit 1: strongly typed
    assert ("shape", "images", (2, 32, 32, 3), (8, 32, 32, 3), (16, 32, 32, 3)) in trt.calls
    assert ("clear", "TF32") in trt.calls
    assert ("limit", "WORKSPACE", 1 << 30) in trt.calls
    assert ("parse", str(own_bundle / "model.onnx")) in trt.calls
    assert ("verbosity", "DETAILED") in trt.calls
    assert ("inspected at", "images", (8, 32, 32, 3)) in trt.calls


def test_plan_and_note_lie_beside_each_other(trt: Any, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (engine,) = build_engines(bundle)
    assert engine.path == own_bundle / "engines" / PLAN
    assert engine.path.read_bytes() == b"a plan"
    note = json.loads(engine.path.with_suffix(".json").read_text())
    assert note["onnx_sha256"] == bundle.onnx_sha256
    assert note["profile"] == {"min": 1, "opt": 32, "max": 128}
    assert {key: note[key] for key in ("target", "version", "cuda", "sm", "gpu", "driver")} == {
        "target": "tensorrt",
        "version": "11.4.0",
        "cuda": "13",
        "sm": "sm90",
        "gpu": "NVIDIA H200",
        "driver": "13.2",
    }
    assert (note["precision"], note["layers"], note["built"], note["inspected"]) == (
        "fp32",
        {"fp32": 2},
        {"fp32": 1},
        True,
    )


def test_an_engine_that_fits_is_reused_and_said_to_be(trt: Any, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (first,) = build_engines(bundle)
    (second,) = build_engines(bundle)
    assert (first.reused, second.reused) == (False, True)
    assert replace(second, reused=False) == first
    assert trt.builds_done == 1
    assert second.as_json() == {
        "path": str(own_bundle / "engines" / PLAN),
        "target": "tensorrt",
        "runs_on": "NVIDIA H200 (sm90)",
        "precision": "fp32",
        "profile": "1/32/128",
        "reused": True,
        "layers": {"fp32": 2},
        "inspected": True,
        "removed": [],
    }


@pytest.mark.parametrize("change", ["onnx", "workspace", "plan", "no plan", "note", "no note"])
def test_an_engine_that_does_not_fit_is_built_again(
    change: str, trt: Any, own_bundle: Path
) -> None:
    bundle, settings = read_bundle(own_bundle), EngineSettings()
    (first,) = build_engines(bundle, settings)
    if change == "onnx":
        bundle = replace(bundle, onnx_sha256="0" * 64)
    elif change == "workspace":
        settings = replace(settings, workspace_bytes=1 << 20)
    elif change == "plan":
        first.path.write_bytes(b"a pl")
    elif change == "no plan":
        first.path.unlink()
    elif change == "note":
        first.path.with_suffix(".json").write_text("{")
    else:
        first.path.with_suffix(".json").unlink()
    (second,) = build_engines(bundle, settings)
    assert (second.path, second.reused, trt.builds_done) == (first.path, False, 2)
    assert second.path.read_bytes() == b"a plan"
    assert plans(own_bundle) == [PLAN.replace(".plan", ".json"), PLAN]


def test_a_note_that_belongs_to_another_engine_is_not_believed(trt: Any, own_bundle: Path) -> None:
    """The JSON of another profile's engine, copied beside this one."""
    bundle = read_bundle(own_bundle)
    first, other = build_engines(bundle, EngineSettings((Profile(), Profile(1, 1, 1))))
    first.path.with_suffix(".json").write_bytes(other.path.with_suffix(".json").read_bytes())
    (again,) = build_engines(bundle)
    assert again.reused is False


def test_what_an_engine_replaces_is_removed(trt: Any, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (old,) = build_engines(bundle)
    trt.__version__ = "11.5.0"
    (new,) = build_engines(bundle)
    assert new.removed == (old.path,)
    assert plans(own_bundle) == [new.path.with_suffix(".json").name, new.path.name]


def test_engines_of_other_machines_profiles_and_strangers_stay(
    trt: Any, gpus: list[Gpu], own_bundle: Path
) -> None:
    bundle = read_bundle(own_bundle)
    (elsewhere,) = build_engines(bundle)
    gpus[0] = Gpu("NVIDIA L4", "sm89", "13.2")
    (narrow,) = build_engines(bundle, EngineSettings((Profile(1, 1, 1),)))
    stranger = own_bundle / "engines" / "mine.plan"
    stranger.write_bytes(b"somebody's")
    (engine,) = build_engines(bundle)
    assert engine.removed == ()
    assert all(path.is_file() for path in (elsewhere.path, narrow.path, stranger))


def test_engines_of_another_onnx_file_go_wherever_they_ran(
    trt: Any, gpus: list[Gpu], own_bundle: Path
) -> None:
    bundle = read_bundle(own_bundle)
    (elsewhere,) = build_engines(bundle)
    gpus[0] = Gpu("NVIDIA L4", "sm89", "13.2")
    (engine,) = build_engines(replace(bundle, onnx_sha256="0" * 64))
    assert engine.removed == (elsewhere.path,)
    assert not elsewhere.path.exists()


def test_two_gpus_of_one_capability_have_an_engine_each(
    trt: Any, gpus: list[Gpu], own_bundle: Path
) -> None:
    bundle = read_bundle(own_bundle)
    (first,) = build_engines(bundle)
    gpus[0] = replace(gpus[0], name="NVIDIA H100 PCIe")
    (second,) = build_engines(bundle)
    assert (second.reused, second.path == first.path) == (False, False)


def test_no_profile_no_engine(trt: Any, own_bundle: Path) -> None:
    assert build_engines(read_bundle(own_bundle), EngineSettings(())) == ()
    assert trt.builds_done == 0


def test_a_bundle_of_fixed_batch_has_an_engine_of_that_batch(
    trt: Any, fakes: Any, own_bundle: Path
) -> None:
    trt.network = fakes.plain_network(batch=4)
    bundle = replace(read_bundle(own_bundle), batch=4)
    (engine,) = build_engines(bundle)
    assert engine.key.profile == Profile(4, 4, 4)
    assert ("profile added",) not in trt.calls  # trtexec adds none either
    with pytest.raises(UsageError, match=r"4 pictures at a time; no engine of 1/32/128"):
        build_engines(bundle, EngineSettings((Profile(),)))


def test_a_builder_that_cannot_start_is_missing(trt: Any, own_bundle: Path) -> None:
    trt.starts = False
    with pytest.raises(MissingError, match="CUDA error 35"):
        build_engines(read_bundle(own_bundle))


def test_what_the_parser_refuses_is_a_mismatch(trt: Any, own_bundle: Path) -> None:
    trt.parses = False
    with pytest.raises(MismatchError, match="node 3 is unknown"):
        build_engines(read_bundle(own_bundle))
    assert plans(own_bundle) == []


def test_a_failed_build_tells_the_error_and_leaves_nothing(trt: Any, own_bundle: Path) -> None:
    trt.builds = False
    with pytest.raises(VrError, match="out of memory") as caught:
        build_engines(read_bundle(own_bundle))
    assert "warning" not in caught.value.problem
    assert plans(own_bundle) == []


def test_a_failed_build_leaves_the_older_engines(trt: Any, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (old,) = build_engines(bundle)
    trt.__version__, trt.builds = "11.5.0", False
    with pytest.raises(VrError):
        build_engines(bundle)
    assert plans(own_bundle) == [old.path.with_suffix(".json").name, old.path.name]


def test_a_graph_of_another_precision_is_not_even_built(
    trt: Any, fakes: Any, own_bundle: Path
) -> None:
    trt.network = fakes.plain_network(fakes.DataType.HALF)
    with pytest.raises(QualityGateError, match="2 in fp16") as caught:
        build_engines(read_bundle(own_bundle))
    assert (caught.value.exit_code, trt.builds_done) == (4, 0)


def test_an_engine_that_became_something_else_is_thrown_away(
    trt: Any, fakes: Any, own_bundle: Path
) -> None:
    trt.information = fakes.information("Row major linear FP32", "Half")
    with pytest.raises(QualityGateError, match=r"that is not fp32.*1 in fp16, 1 in fp32"):
        build_engines(read_bundle(own_bundle))
    assert plans(own_bundle) == []


def test_an_engine_that_tells_nothing_is_kept_and_said_to(trt: Any, own_bundle: Path) -> None:
    trt.information = '{"Layers": ["a name", "another"]}'
    (engine,) = build_engines(read_bundle(own_bundle))
    assert engine.inspected is False
    assert json.loads(engine.path.with_suffix(".json").read_text())["built"] == {"opaque": 2}


def test_an_engine_that_cannot_be_loaded_is_thrown_away(trt: Any, own_bundle: Path) -> None:
    trt.loads = False
    with pytest.raises(MismatchError, match="of another world"):
        build_engines(read_bundle(own_bundle))
    assert plans(own_bundle) == []


def test_two_builds_in_one_bundle_do_not_mix(trt: Any, own_bundle: Path) -> None:
    with (
        writing(own_bundle / "engines", "the engines"),
        pytest.raises(StorageError, match="Another vr is writing the engines"),
    ):
        build_engines(read_bundle(own_bundle))
    assert trt.builds_done == 0


def test_a_full_disk_leaves_no_half_engine(trt: Any, own_bundle: Path, largest_file: Any) -> None:
    bundle = read_bundle(own_bundle)
    settings = EngineSettings(target="tensorrt_rtx")  # no timing cache, which is written before
    with largest_file(3), pytest.raises(StorageError, match=r"Cannot write .*\.plan"):
        build_engines(bundle, settings)
    assert plans(own_bundle) == []
