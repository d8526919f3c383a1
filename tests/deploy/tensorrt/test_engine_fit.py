"""Which engine fits this machine: GPUs and TensorRT are stand-ins, no GPU runs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import deploy.tensorrt.fit
from deploy.bundle import Bundle, read_bundle
from deploy.tensorrt import EngineSettings, Profile, build_engines, choose_engine, lookup
from deploy.tensorrt.files import read_engine
from toolkit.errors import MismatchError, MissingError
from toolkit.machine.cuda import Gpu

REPOSITORY = Path(__file__).parents[3]
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", "sm89", "13.2")


@pytest.fixture
def built(trt: Any, own_bundle: Path) -> Bundle:
    """A bundle with one engine, for the H200 of the stand-in."""
    bundle = read_bundle(own_bundle)
    build_engines(bundle)
    return bundle


def test_the_engine_of_this_machine_is_found(built: Bundle) -> None:
    found = lookup(built)
    assert found is not None
    assert found == choose_engine(built)
    assert found.key.gpu == "NVIDIA H200"
    assert found.read_plan() == b"a plan"


def test_without_a_gpu_nothing_is_imported(
    built: Bundle, gpus: list[Gpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.clear()
    monkeypatch.setattr(deploy.tensorrt.fit, "require", lambda name: pytest.fail(name))
    assert lookup(built) is None
    with pytest.raises(MissingError, match="needs an NVIDIA GPU") as caught:
        choose_engine(built)
    assert "--runtime onnx" in caught.value.mend


def test_without_an_engine_nothing_is_imported(
    own_bundle: Path, gpus: list[Gpu], h200: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.append(h200)
    monkeypatch.setattr(deploy.tensorrt.fit, "require", lambda name: pytest.fail(name))
    bundle = read_bundle(own_bundle)
    assert lookup(bundle) is None
    with pytest.raises(MissingError, match="holds no TensorRT engine") as caught:
        choose_engine(bundle)
    assert "vr export --trt" in caught.value.mend


def test_without_the_package_auto_finds_nothing(
    built: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise MissingError(f"no {name}", mend="install it")

    monkeypatch.setattr(deploy.tensorrt.fit, "require", missing)
    assert lookup(built) is None
    with pytest.raises(MissingError, match="no tensorrt"):
        choose_engine(built)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("capability", r"is for NVIDIA H200 \(sm90\); this machine has NVIDIA L4 \(sm89\)"),
        ("name", r"is for NVIDIA H200 \(sm90\); this machine has NVIDIA GH200 \(sm90\)"),
        ("version", r"is of tensorrt 11\.4\.0; this machine has 11\.4\.1"),
        ("onnx", "was built of another ONNX file"),
    ],
)
def test_an_engine_of_elsewhere_is_a_mismatch(
    change: str, reason: str, built: Bundle, trt: Any, gpus: list[Gpu]
) -> None:
    if change == "capability":
        gpus[0] = Gpu("NVIDIA L4", "sm89", "13.2")
    elif change == "name":
        gpus[0] = Gpu("NVIDIA GH200", "sm90", "13.2")
    elif change == "version":
        trt.__version__ = "11.4.1"
    else:
        built = replace(built, onnx_sha256="0" * 64)
    assert lookup(built) is None
    with pytest.raises(MismatchError, match=reason) as caught:
        choose_engine(built)
    assert caught.value.exit_code == 5
    assert "vr export --trt" in caught.value.mend


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"target": "tensorrt"}'])
def test_a_plan_that_nothing_describes_is_none(content: str, built: Bundle) -> None:
    engine = choose_engine(built)
    engine.path.with_suffix(".json").write_text(content)
    assert lookup(built) is None
    with pytest.raises(MissingError, match="holds no TensorRT engine"):
        choose_engine(built)
    with pytest.raises(MismatchError, match="engine description"):
        read_engine(engine.path)


@pytest.mark.parametrize("content", [b"a pl", b"somebody else's", b""], ids=["cut", "other", "0"])
def test_a_damaged_plan_is_a_mismatch(content: bytes, built: Bundle) -> None:
    engine = choose_engine(built)
    engine.path.write_bytes(content)
    with pytest.raises(MismatchError, match="damaged, or one of the two was replaced"):
        engine.read_plan()


def test_a_plan_that_is_gone_is_a_mismatch(built: Bundle) -> None:
    engine = choose_engine(built)
    engine.path.unlink()
    with pytest.raises(MismatchError, match="cannot be read"):
        engine.read_plan()


def test_the_engine_for_most_pictures_is_taken(trt: Any, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    profiles = (Profile(1, 1, 1), Profile(1, 64, 64), Profile(1, 32, 256))
    build_engines(bundle, EngineSettings(profiles))
    assert choose_engine(bundle).key.profile == Profile(1, 64, 64)


def test_rtx_engines_run_on_rtx_gpus_only(trt: Any, gpus: list[Gpu], own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (engine,) = build_engines(bundle, EngineSettings(target="tensorrt_rtx"))
    assert engine.runs_on == "RTX GPUs (sm80, sm86, sm89, sm120, sm121)"
    with pytest.raises(MismatchError, match=r"is for RTX GPUs; .*H200"):
        choose_engine(bundle)
    gpus[0] = RTX_4090
    assert choose_engine(bundle).path == engine.path
    (tuned,) = build_engines(bundle)
    assert choose_engine(bundle).path == tuned.path


def test_the_cuda_that_a_package_was_built_for() -> None:
    pytest.importorskip("tensorrt_rtx")
    from deploy.tensorrt.machine import cuda_of

    assert cuda_of("tensorrt_rtx") == "13"


def test_a_package_that_is_not_there_tells_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    import deploy.tensorrt.machine as machine

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", missing)
    assert machine.cuda_of("tensorrt") == ""


def test_importing_and_looking_up_is_light(own_bundle: Path) -> None:
    """In an interpreter of its own, on this machine as it is."""
    code = (
        "import sys; from pathlib import Path\n"
        "from deploy.bundle import read_bundle\n"
        "import deploy.runtimes.tensorrt\n"
        "from deploy.tensorrt import lookup\n"
        "lookup(read_bundle(Path(sys.argv[1])))\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'cuda'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(own_bundle)],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_description_of_an_engine_says_all_that_its_key_does(built: Bundle) -> None:
    engine = choose_engine(built)
    note = json.loads(engine.path.with_suffix(".json").read_text())
    assert note["key"] == engine.key.digest()
    assert engine.key == read_engine(engine.path).key
