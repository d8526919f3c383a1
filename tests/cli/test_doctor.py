"""`vr doctor`: what it prints and how it exits; the examination itself has tests of its own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toolkit.machine.examine
from cli.main import main
from toolkit.machine.cpu import Cpu
from toolkit.machine.findings import Finding, judge
from toolkit.machine.packages import Distribution, Package
from toolkit.machine.probe import Answer
from toolkit.machine.report import Gpus, Provider, Report
from toolkit.machine.storage import Disk, Memory


def finding(name: str, answer: Answer | None, *owners: str, gives: str = "something") -> Finding:
    install = "pip install 'vr-toolkit[gpu]'" if name == "torchcodec" else f"pip install {name}"
    distributions = tuple(Distribution(owner, "1.0") for owner in owners)
    return judge(Package(name, False, gives, install, distributions, len(owners) > 1), answer)


TORCH = Answer({"cuda": None, "cuda_available": False, "gpus": 0, "bf16": False, "threads": 2})
GOOD = Report(
    vr="0.1.0",
    python="3.11.7",
    system="Linux 6.1 x86_64",
    cpu=Cpu("AMD EPYC", "x86_64", 8, 4, 1.5, {"AVX2": True, "AMX": False}),
    memory=Memory(32_000_000_000, None),
    disk=Disk(Path("here"), 10**12, 10**11, True),
    gpus=Gpus((), None, None, ""),
    findings=(
        finding("torch", TORCH, "torch", gives="training"),
        finding("onnxruntime", Answer(), "onnxruntime", gives="running exports"),
        finding("tensorrt", None, gives="engines"),
        finding("torchcodec", None, gives="decoding"),
    ),
    providers=(Provider("CPUExecutionProvider", ""), Provider("CUDAExecutionProvider", "no")),
    ffmpeg=(5, 7),
)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `vr doctor` on a machine that is made up: its exit code and its lines on stdout."""

    def run(report: Report, *flags: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(toolkit.machine.examine, "examine", lambda folder: report)
        code = main(["doctor", *flags])
        return code, [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_machine_on_which_all_works(doctor: Any) -> None:
    code, lines = doctor(GOOD)
    assert code == 0
    assert lines == [
        "This machine",
        "  vr         0.1.0, Python 3.11.7, Linux 6.1 x86_64",
        "  Processor  AMD EPYC, 8 cores, 4 for this process, time of 1.5",
        "             AVX2; no AMX",
        "  Memory     32.0 GB",
        "  Disk       100.0 GB free of 1000.0 GB here",
        "  GPU        no NVIDIA driver",
        "  FFmpeg     shared libraries of release 5, 7",
        "",
        "Packages",
        "  ok       torch 1.0        training: for the CPU",
        "  ok       onnxruntime 1.0  running exports: CPU loads, CUDA does not",
        "  missing  tensorrt         engines",
        "  missing  torchcodec       decoding",
        "",
        "To add",
        "  pip install tensorrt           engines",
        "  pip install 'vr-toolkit[gpu]'  decoding (in a fresh environment)",
        "",
        "All that is installed works.",
    ]


def test_what_is_wrong_is_said_with_its_remedy(doctor: Any) -> None:
    broken = (
        finding("av", Answer(problem="the process was killed by SIGSEGV"), "av"),
        finding("faiss", Answer(), "faiss-cpu", "faiss-gpu-cuvs"),
    )
    code, lines = doctor(replace(GOOD, findings=(*GOOD.findings, *broken)))
    assert code == 1
    start = lines.index("To mend")
    assert lines[start + 1 : start + 8] == [
        "  av: the process was killed by SIGSEGV",
        "      pip install --force-reinstall --no-deps av",
        "  faiss: faiss-cpu 1.0 and faiss-gpu-cuvs 1.0 are installed",
        "      They share the folder faiss/, where the last one installed has won. Take",
        "      all of them away and install one (or the extra gpu):",
        "      pip uninstall -y faiss-cpu faiss-gpu-cuvs; pip install faiss",
        "",
    ]
    assert "  broken   av 1.0           something" in lines
    assert "  twice    faiss 1.0        something" in lines
    assert "All that is installed works." not in lines


def test_gpus_are_named(doctor: Any) -> None:
    gpu = {"name": "NVIDIA H200", "sm": "sm90", "memory_bytes": 150_000_000_000}
    says = {"cuda": "13.2", "cuda_available": True, "gpus": 1, "bf16": True, "threads": 2}
    torch = finding("torch", Answer(says), "torch", gives="training")
    _, lines = doctor(
        replace(GOOD, gpus=Gpus((gpu,), "13.2", "595.1", ""), findings=(torch,), advice=("Do it.",))
    )
    assert "  GPU        NVIDIA H200, sm90, 150.0 GB" in lines
    assert "  Driver     595.1, serves CUDA 13.2" in lines
    assert "  ok  torch 1.0  training: for CUDA 13.2, 1 GPU, bf16" in lines
    assert lines[lines.index("Worth knowing") + 1] == "  Do it."


def test_names_from_outside_do_not_steer_the_terminal(doctor: Any) -> None:
    odd = replace(GOOD.cpu, model="evil\x1b[2J[bold]cpu")
    _, lines = doctor(replace(GOOD, cpu=odd))
    assert any("evil\\x1b[2J[bold]cpu" in line for line in lines)


@pytest.mark.parametrize("good", [True, False], ids=["usable", "broken"])
def test_json_is_one_object(good: bool, doctor: Any) -> None:
    broken = (finding("av", Answer(problem="no"), "av"),)
    report = GOOD if good else replace(GOOD, findings=broken)
    code, [line] = doctor(report, "--json")
    content = json.loads(line)
    assert (code, content["usable"]) == ((0, True) if good else (1, False))
    assert content == json.loads(json.dumps(report.as_json()))


def test_an_argument_is_refused(doctor: Any) -> None:
    code, _ = doctor(GOOD, "everything")
    assert code == 2


@pytest.mark.slow  # it imports everything, each in a process of its own
def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """For real: every package that the tests use works, and is named with its version."""
    import numpy as np

    assert main(["doctor", "--json"]) in (0, 1)
    content = json.loads(capsys.readouterr().out)
    states = {package["name"]: package for package in content["packages"]}
    for name in ("numpy", "torch", "onnx", "faiss", "onnxruntime", "PIL"):
        assert states[name]["problem"] == ""
        assert states[name]["state"] == "ok"
    assert states["numpy"]["distributions"] == [{"name": "numpy", "version": np.__version__}]
    cpu = next(one for one in content["providers"] if one["name"] == "CPUExecutionProvider")
    assert cpu["loads"]
