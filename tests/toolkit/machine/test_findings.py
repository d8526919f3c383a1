"""What is made of the answers: states, remedies, advice and the whole report."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toolkit.machine.examine
from toolkit.machine.advice import advise
from toolkit.machine.cpu import read_cpu
from toolkit.machine.examine import examine, read_driver
from toolkit.machine.findings import judge
from toolkit.machine.packages import Distribution, Package
from toolkit.machine.probe import Answer
from toolkit.machine.report import Gpus, Provider, Report
from toolkit.machine.storage import Disk, Memory

H200 = {"name": "NVIDIA H200", "sm": "sm90", "memory_bytes": 150_000_000_000}


def package(name: str, *distributions: str, needed: bool = False) -> Package:
    owners = tuple(Distribution(one, "1.0") for one in distributions)
    return Package(name, needed, "something", f"pip install {name}", owners, len(owners) > 1)


def report(**changes: Any) -> Report:
    """A machine without a GPU, on which all works."""
    names = ("torch", "onnxruntime", "tensorrt")
    good = Report(
        vr="1",
        python="3.11",
        system="Linux",
        cpu=read_cpu(),
        memory=Memory(1, 1),
        disk=Disk(Path(), 10**12, 10**11, True),
        gpus=Gpus((), None, None, ""),
        findings=tuple(judge(package(name, name), Answer()) for name in names),
        providers=(Provider("CPUExecutionProvider", ""),),
        ffmpeg=(),
    )
    return replace(good, **changes)


def test_what_works() -> None:
    found = judge(package("faiss", "faiss-cpu"), Answer({"gpus": 0}, 0.5))
    assert (found.state, found.problem, found.mend, found.wrong) == ("ok", "", "", False)
    assert found.details == {"gpus": 0}


@pytest.mark.parametrize("needed", [True, False], ids=["needed", "optional"])
def test_what_is_missing_is_wrong_only_where_it_is_needed(needed: bool) -> None:
    found = judge(package("ray", needed=needed), None)
    assert (found.state, found.mend, found.wrong) == ("missing", "pip install ray", needed)


def test_what_is_broken_is_installed_again() -> None:
    found = judge(package("faiss", "faiss-cpu"), Answer(problem="killed by SIGSEGV"))
    assert (found.state, found.problem, found.wrong) == ("broken", "killed by SIGSEGV", True)
    assert found.mend == "pip install --force-reinstall --no-deps faiss-cpu"


def test_a_broken_torchcodec_may_want_for_ffmpeg() -> None:
    found = judge(package("torchcodec", "torchcodec"), Answer(problem="no libavutil"))
    assert "FFmpeg 4 to 9" in found.mend


@pytest.mark.parametrize("problem", ["", "killed by SIGSEGV"], ids=["imports", "does not import"])
def test_what_is_installed_twice_is_wrong_even_where_it_imports(problem: str) -> None:
    found = judge(package("faiss", "faiss-cpu", "faiss-gpu-cuvs"), Answer(problem=problem))
    assert (found.state, found.wrong) == ("twice", True)
    assert found.problem.startswith("faiss-cpu 1.0 and faiss-gpu-cuvs 1.0 are installed")
    assert found.problem.endswith(problem)
    assert "(or the extra gpu): pip uninstall -y faiss-cpu faiss-gpu-cuvs; pip" in found.mend


def test_nothing_to_advise() -> None:
    assert advise(report()) == ()


def test_a_gpu_that_nothing_uses() -> None:
    gpus = Gpus((H200,), "13.2", "595.1", "")
    torch, runtime, trt = (
        judge(package("torch", "torch"), Answer({"cuda": None, "cuda_available": False})),
        judge(package("onnxruntime", "onnxruntime"), Answer()),
        judge(package("tensorrt", "tensorrt"), Answer({"builds": False, "reason": "error 35"})),
    )
    says = advise(report(gpus=gpus, findings=(torch, runtime, trt)))
    assert ["torch" in says[0], "CUDA provider" in says[1], "error 35" in says[2]] == [True] * 3


def test_a_gpu_that_all_use() -> None:
    gpus = Gpus((H200,), "13.2", "595.1", "")
    findings = (
        judge(package("torch", "torch"), Answer({"cuda": "13.2", "cuda_available": True})),
        judge(package("onnxruntime", "onnxruntime-gpu"), Answer()),
        judge(package("tensorrt", "tensorrt"), Answer({"builds": True, "reason": ""})),
    )
    providers = (Provider("CUDAExecutionProvider", ""),)
    assert advise(report(gpus=gpus, findings=findings, providers=providers)) == ()


def test_a_torch_for_a_newer_cuda_than_the_driver_serves() -> None:
    torch = judge(package("torch", "torch"), Answer({"cuda": "13.2", "cuda_available": False}))
    findings = (torch, *report().findings[1:])
    [says] = [
        line
        for line in advise(report(gpus=Gpus((H200,), "12.8", "570", ""), findings=findings))
        if line.startswith("torch")
    ]
    assert "for CUDA 13.2, and the driver serves 12.8" in says


def test_a_driver_that_shows_no_gpu() -> None:
    [says] = advise(report(gpus=Gpus((), None, "595.1", "")))
    assert "shows this process no GPU" in says


def test_a_driver_that_does_not_answer() -> None:
    [says] = advise(report(gpus=Gpus((), None, "595.1", "it does not answer within 30 s")))
    assert "within 30 s" in says


def test_a_disk_that_is_full_or_closed() -> None:
    [full] = advise(report(disk=Disk(Path(), 10**12, 10**9, True)))
    assert full.startswith("1.0 GB are free here")
    [closed] = advise(report(disk=Disk(Path("here"), 10**12, 10**9, False)))
    assert closed == "here cannot be written to: work in another folder."


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May\n", "535.183.01"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
            "GCC version: gcc version 12.3.0\n",
            "580.65.06",
        ),
        ("", None),
    ],
    ids=["closed", "open", "empty"],
)
def test_the_version_of_the_driver(text: str, version: str | None, tmp_path: Path) -> None:
    (tmp_path / "version").write_text(text)
    assert read_driver(tmp_path / "version") == version


def test_no_driver(tmp_path: Path) -> None:
    assert read_driver(tmp_path / "version") is None


def test_a_whole_examination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins of the processes: one provider loads, one does not; faiss is missing."""
    asked: list[str] = []

    def answers(questions: Any, workers: int, timeout_s: float) -> dict[str, Answer]:
        known = {
            "onnxruntime": Answer({"providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]}),
            "provider:CUDAExecutionProvider": Answer(problem="no libcublas"),
            "gpus": Answer({"cuda": "13.2", "gpus": [H200]}),
            "ffmpeg": Answer({"releases": [5]}),
            "torch": Answer(problem="killed by SIGSEGV"),
        }
        asked.extend(questions)
        return {question: known.get(question, Answer()) for question in questions}

    packages = (package("torch", "torch", needed=True), package("onnxruntime", "onnxruntime"))
    packages += (package("faiss"), package("tensorrt"))
    monkeypatch.setattr(toolkit.machine.examine, "ask_all", answers)
    monkeypatch.setattr(toolkit.machine.examine, "list_packages", lambda: packages)
    found = examine(tmp_path)
    assert "faiss" not in asked
    assert [finding.state for finding in found.findings] == ["broken", "ok", "missing", "missing"]
    assert [(one.name, one.loads) for one in found.providers] == [
        ("CUDAExecutionProvider", False),
        ("CPUExecutionProvider", True),
    ]
    content = json.loads(json.dumps(found.as_json()))
    assert sorted(content) == [
        "advice", "cpu", "disk", "driver", "ffmpeg", "gpus", "memory", "packages", "providers",
        "python", "system", "usable", "vr",
    ]  # fmt: skip
    assert content["usable"] is False
    assert content["gpus"] == [H200]
    assert content["driver"]["cuda"] == "13.2"
    assert content["packages"][0]["problem"] == "killed by SIGSEGV"
    assert content["providers"][0] == {
        "name": "CUDAExecutionProvider",
        "loads": False,
        "problem": "no libcublas",
    }
    assert any("CUDA provider does not load" in line for line in content["advice"])
